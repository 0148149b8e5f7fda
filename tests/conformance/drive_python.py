"""The driver of the Python client: JSON lines in and out, as docs/clients.md tells.

The rule kept here: it uses the client as any user would, by what `bridge.client` exports.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from bridge.client import (
    Client,
    Connected,
    Disconnected,
    Event,
    Item,
    Refused,
    Rejected,
    Warned,
)

PASSED_OPTIONS = ("account", "since", "topics", "rooms", "types", "queue")


def write_line(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def item_fields(item: Item) -> dict[str, Any]:
    kind = "warning" if isinstance(item, Warned) else type(item).__name__.lower()
    fields = {"item": kind, **dataclasses.asdict(item)}
    fields.pop("frame", None)
    if isinstance(item, Event):
        if item.deleted or item.data_base64 is not None:
            del fields["data"]
        optional = ("data_base64", "tag", "meta")
        fields = {name: it for name, it in fields.items() if it is not None or name not in optional}
        if not item.deleted:
            del fields["deleted"]
    return fields


class ItemBudget:
    """How much the user takes: `left` items more; None: all from now on."""

    def __init__(self, remaining: int | None) -> None:
        self.remaining = remaining
        self._changed = asyncio.Event()

    def add(self, count: int | None) -> None:
        self.remaining = None if count is None or self.remaining is None else self.remaining + count
        self._changed.set()

    async def wait(self) -> None:
        while self.remaining == 0:
            self._changed.clear()
            await self._changed.wait()


async def forward_items(client: Client, budget: ItemBudget, started: asyncio.Event) -> None:
    code, reason = 1000, "closed by the user"
    await started.wait()
    try:
        while True:
            await budget.wait()
            item = await anext(client)
            if not isinstance(item, Connected | Disconnected) and budget.remaining is not None:
                budget.remaining -= 1
            write_line(**item_fields(item))
    except StopAsyncIteration:
        pass
    except Refused as refused:
        code, reason = refused.code, refused.reason
    write_line(item="final", code=code, reason=reason, resume=client.resume_from)


async def change_subscriptions(client: Client, command: dict[str, Any]) -> None:
    request = client.subscribe if command["do"] == "subscribe" else client.unsubscribe
    try:
        result = await request(topics=command.get("topics", []), rooms=command.get("rooms", []))
    except Rejected as rejected:
        write_line(
            item="reply", n=command["n"], ok=False, error=rejected.code, reason=rejected.reason
        )
    else:
        write_line(item="reply", n=command["n"], ok=True, topics=result.topics, rooms=result.rooms)


def make_client(job: dict[str, Any]) -> Client:
    options = job["options"]
    client_options = {name: options[name] for name in PASSED_OPTIONS if name in options}
    first_delay_ms, max_delay_ms = options["backoff_ms"]
    for option, name in (("welcome_ms", "welcome_seconds"), ("renew_ms", "renew_seconds")):
        if option in options:
            client_options[name] = options[option] / 1000
    token = options.get("token")
    if isinstance(token, list):
        left = iter(token)
        token = lambda: next(left, options["token"][-1])  # noqa: E731
    return Client(
        job["url"],
        token=token,
        resume_from=options.get("cursor"),
        backoff=(first_delay_ms / 1000, max_delay_ms / 1000),
        on_state=lambda state: write_line(item="state", state=state),
        dial={"proxy": None},
        **client_options,
    )


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    write_line(can=["wake", "http_status", "pause"])
    job = json.loads(await reader.readline())
    options = job["options"]
    client = make_client(job)
    budget = ItemBudget(0 if options.get("paused") else None)
    started = asyncio.Event()
    if options.get("start", True):
        client.start()
        started.set()
    command_task = asyncio.create_task(run_commands(reader, client, budget, started))
    await forward_items(client, budget, started)
    command_task.cancel()
    await asyncio.gather(command_task, return_exceptions=True)


async def run_commands(
    reader: asyncio.StreamReader, client: Client, budget: ItemBudget, started: asyncio.Event
) -> None:
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            command = json.loads(line)
            match command["do"]:
                case "start":
                    client.start()
                    started.set()
                case "take":
                    budget.add(command.get("count"))
                case "wake":
                    client.wake()
                case "waiting":
                    write_line(item="reply", n=command["n"], waiting=client.waiting)
                case "close":
                    await client.close()
                    budget.add(None)
                    started.set()
                case _:
                    tasks.create_task(change_subscriptions(client, command))


if __name__ == "__main__":
    asyncio.run(main())
