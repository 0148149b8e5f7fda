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

AS_THEY_ARE = ("account", "since", "topics", "rooms", "types", "queue")


def say(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def shown(item: Item) -> dict[str, Any]:
    kind = "warning" if isinstance(item, Warned) else type(item).__name__.lower()
    told = {"item": kind, **dataclasses.asdict(item)}
    told.pop("frame", None)
    if isinstance(item, Event):
        if item.deleted or item.data_base64 is not None:
            del told["data"]
        optional = ("data_base64", "tag", "meta")
        told = {name: it for name, it in told.items() if it is not None or name not in optional}
        if not item.deleted:
            del told["deleted"]
    return told


class Turn:
    """How much the user takes: `left` items more; None: all from now on."""

    def __init__(self, left: int | None) -> None:
        self.left = left
        self._changed = asyncio.Event()

    def more(self, count: int | None) -> None:
        self.left = None if count is None or self.left is None else self.left + count
        self._changed.set()

    async def comes(self) -> None:
        while self.left == 0:
            self._changed.clear()
            await self._changed.wait()


async def hand_out(client: Client, turn: Turn, started: asyncio.Event) -> None:
    code, reason = 1000, "closed by the user"
    await started.wait()
    try:
        while True:
            await turn.comes()
            item = await anext(client)
            if not isinstance(item, Connected | Disconnected) and turn.left is not None:
                turn.left -= 1
            say(**shown(item))
    except StopAsyncIteration:
        pass
    except Refused as refused:
        code, reason = refused.code, refused.reason
    say(item="final", code=code, reason=reason, resume=client.resume_from)


async def change(client: Client, told: dict[str, Any]) -> None:
    ask = client.subscribe if told["do"] == "subscribe" else client.unsubscribe
    try:
        done = await ask(topics=told.get("topics", []), rooms=told.get("rooms", []))
    except Rejected as rejected:
        say(item="reply", n=told["n"], ok=False, error=rejected.code, reason=rejected.reason)
    else:
        say(item="reply", n=told["n"], ok=True, topics=done.topics, rooms=done.rooms)


def made(told: dict[str, Any]) -> Client:
    options = told["options"]
    given = {name: options[name] for name in AS_THEY_ARE if name in options}
    base, most = options["backoff_ms"]
    for option, name in (("welcome_ms", "welcome_seconds"), ("renew_ms", "renew_seconds")):
        if option in options:
            given[name] = options[option] / 1000
    token = options.get("token")
    if isinstance(token, list):
        left = iter(token)
        token = lambda: next(left, options["token"][-1])  # noqa: E731
    return Client(
        told["url"],
        token=token,
        resume_from=options.get("cursor"),
        backoff=(base / 1000, most / 1000),
        on_state=lambda state: say(item="state", state=state),
        dial={"proxy": None},
        **given,
    )


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    say(can=["wake", "http_status", "pause"])
    told = json.loads(await reader.readline())
    options = told["options"]
    client = made(told)
    turn = Turn(0 if options.get("paused") else None)
    started = asyncio.Event()
    if options.get("start", True):
        client.start()
        started.set()
    hearing = asyncio.create_task(obey(reader, client, turn, started))
    await hand_out(client, turn, started)
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)


async def obey(
    reader: asyncio.StreamReader, client: Client, turn: Turn, started: asyncio.Event
) -> None:
    async with asyncio.TaskGroup() as tasks:
        while line := await reader.readline():
            told = json.loads(line)
            match told["do"]:
                case "start":
                    client.start()
                    started.set()
                case "take":
                    turn.more(told.get("count"))
                case "wake":
                    client.wake()
                case "waiting":
                    say(item="reply", n=told["n"], waiting=client.waiting)
                case "close":
                    await client.close()
                    turn.more(None)
                    started.set()
                case _:
                    tasks.create_task(change(client, told))


if __name__ == "__main__":
    asyncio.run(main())
