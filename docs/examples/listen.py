"""A client that keeps a list of orders, and its place, so that a restart misses nothing.

    python docs/examples/listen.py URL TOKEN [FILE]

The rule kept here: the place is kept behind what it stands for, so that after a crash some events
come twice rather than never; the list is keyed, so that twice is the same as once.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from bridge.client import Client, Connected, Disconnected, Event, Gap, Live, Refused


class Kept(NamedTuple):
    """What outlives this program."""

    place: str | None
    orders: dict[str, Any]


def load(file: Path) -> Kept:
    """Read what was kept; nothing, the first time."""
    return Kept(*json.loads(file.read_text())) if file.exists() else Kept(None, {})


def keep(file: Path, kept: Kept) -> None:
    """Write it, all or nothing."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(kept))
    new.replace(file)


async def main(url: str, token: str, file: Path) -> None:
    """Listen until the bridge says that it is for good."""
    place, orders = load(file)
    async with Client(url, token=token, resume_from=place) as client:
        try:
            async for item in client:
                match item:
                    case Connected(account=account, instance=instance):
                        print(f"connected as {account} to {instance}", flush=True)
                    case Event(deleted=True, id=order):
                        orders.pop(order, None)
                    case Event(id=order, type=type, data=data):
                        orders[order] = data
                        print(f"{type}: {order} {data}", flush=True)
                    case Gap(topic=topic, reason=reason):
                        print(f"events of {topic} are missing ({reason}): load it anew", flush=True)
                        orders.clear()
                    case Live(replayed=replayed):
                        print(f"{replayed} events while this was away", flush=True)
                    case Disconnected(reason=reason, retry_in=seconds):
                        print(f"{reason}; again in {seconds:.1f} s", flush=True)
                keep(file, Kept(client.resume_from, orders))
        except Refused as refused:
            print(f"over: {refused.code} {refused.reason}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(*sys.argv[3:] or ["orders.json"])))
