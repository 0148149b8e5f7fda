"""What the contract promises beyond deliveries: a check of lifecycle, of grants, and of closes.

Rule: it knows the contract alone. Each function yields one sentence for each breach.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.journey.bridge_group import TopicRecord
    from tests.journey.reconnecting_client import ReconnectingClient

SLOW: Final = 4002
_PRESENCE: Final = ("connected", "disconnected")


def check_presence(records: Iterable[TopicRecord], paused: set[str]) -> Iterator[str]:
    """Check that backends are told once that a connection came, and then once that it went.

    Only a connection of an instance in `paused` may be told gone and come again.
    """
    notices: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for record in records:
        notice = json.loads(record.value)
        if notice["type"] in _PRESENCE:
            data = notice["data"]
            notices[data["connection"]].append((notice["type"], data.get("instance", "")))
    for connection, told in notices.items():
        words = [word for word, _ in told]
        alternates = words == [_PRESENCE[number % 2] for number in range(len(words))]
        may_return = any(instance in paused for _, instance in told)
        if not alternates or len(words) % 2 or (len(words) > 2 and not may_return):
            yield f"connection {connection} was told {told}"


def check_rooms(client: str, frames: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Check that no event comes for a room that the connection was told to have left."""
    rooms: set[str] = set()
    for frame in frames:
        match frame["op"]:
            case "welcome":
                rooms = set(frame["rooms"])
            case "rooms":
                rooms = (rooms | set(frame.get("joined", ()))) - set(frame.get("left", ()))
            case "event" if frame["to"].startswith("room:"):
                if (room := frame["to"].removeprefix("room:")) not in rooms:
                    yield f"{client}: {frame['at']} came for {room}, which it is not in"


def check_neighbours(clients: Iterable[ReconnectingClient]) -> Iterator[str]:
    """Check that clients that always read are never closed as slow."""
    for client in clients:
        if client.close_codes[SLOW]:
            yield f"{client.name} was closed as slow {client.close_codes[SLOW]} times, and read"
