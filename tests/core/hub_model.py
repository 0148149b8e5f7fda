"""The hub as somebody would explain it: for each event, go through everybody and see who gets it.

No index, no packed cursors, no shared frames, no bytes: too simple to be wrong. A frame that is
owed is written as what matters of it, with its cursor as plain offsets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import read_cursor
from tests.harness.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.core.protocol.cursor import Place

#: How many frames an outbox holds before it takes no more events.
ROOM = 5
# What matters of each frame, beside its cursor.
TOLD = {
    "event": ("at", "to"),
    "welcome": ("topics", "rooms"),
    "reply": ("topics", "rooms"),
    "gap": ("topic", "reason"),
    "live": ("replayed",),
    "closing": ("code",),
    "rooms": ("joined", "left"),
    "heartbeat": (),
}


class Happening(NamedTuple):
    """One event, as a producer thinks of it."""

    offset: int
    type: str
    connections: list[str]
    accounts: list[str]
    rooms: list[str]
    all: bool


class Client:
    """What one client is, and what it is owed since it came."""

    def __init__(self, id: str, account: str | None, topics: set[str]) -> None:
        self.id = id
        self.account = account
        self.topics = topics
        self.hands: dict[str, set[str]] = {}
        self.types: list[str] | None = None
        self.floors: dict[str, dict[int, int]] = {}
        self.owed: list[dict[str, Any]] = []
        self.taken = 0
        self.live = True

    @property
    def rooms(self) -> list[str]:
        return sorted(room for room, hands in self.hands.items() if hands)

    def why(self, topic: str, partition: int, it: Happening) -> str | None:
        """Why this client gets `it`; None where it does not."""
        admitted = self.types is None or any(
            it.type == wanted or (wanted[-1] == "*" and it.type.startswith(wanted[:-1]))
            for wanted in self.types
        )
        seen = it.offset < self.floors.get(topic, {}).get(partition, 0)
        if topic not in self.topics or not admitted or seen:
            return None
        reasons = [
            *("connection" for name in it.connections if name == self.id),
            *("account" for name in it.accounts if name == self.account),
            *(f"room:{name}" for name in it.rooms if name in self.rooms),
            *(["all"] if it.all else []),
        ]
        return reasons[0] if reasons else None


class Model:
    """What has happened on one instance, and what everybody is owed because of it."""

    def __init__(self, topics: list[str], life: bytes) -> None:
        self.next = {topic: {0: 0, 1: 0} for topic in topics}
        self.life = dict.fromkeys(topics, life)
        self.clients: dict[str, Client] = {}
        self.delivered = 0

    def live(self) -> Iterator[Client]:
        return (client for client in list(self.clients.values()) if client.live)

    def cursor(self, of: Client) -> dict[str, tuple[bytes, dict[int, int]]]:
        """What covers exactly the frames that `of` is owed by now."""
        told = {}
        for topic in of.topics:
            offsets = dict(self.next[topic])
            for partition, floor in of.floors.get(topic, {}).items():
                offsets[partition] = max(floor, offsets.get(partition, 0))
            told[topic] = (self.life[topic], offsets)
        return told

    def owe(self, to: Client, op: str, **fields: Any) -> None:
        to.owed.append({"op": op, "cursor": self.cursor(to), **fields})

    def publish(self, topic: str, partition: int, events: list[Happening], after: int) -> None:
        for event in events:
            self.next[topic][partition] = event.offset
            for client in self.live():
                why = client.why(topic, partition, event)
                if why is None:
                    continue
                if len(client.owed) - client.taken >= ROOM:
                    self.close(client, 4002)
                else:
                    at = f"{topic}:{partition}:{event.offset}"
                    client.owed.append({"op": "event", "at": at, "to": why})
                    self.delivered += 1
        self.next[topic][partition] = after

    def close(self, client: Client, code: int, *, discard: bool = False) -> None:
        if not client.live:
            return
        waiting = len(client.owed) - client.taken
        if discard:
            del client.owed[client.taken :]
        self.owe(client, "closing", code=code)
        if discard and waiting:
            client.owed[-1]["cursor"] = None
        client.live = False

    def gap(self, topic: str, reason: str) -> None:
        for client in self.live():
            if topic in client.topics:
                client.floors.pop(topic, None)
                self.owe(client, "gap", topic=topic, reason=reason)

    def resume(
        self, client: Client, cursor: Mapping[str, Place], ends: Mapping[str, Mapping[int, int]]
    ) -> bool:
        """Let `client` begin where `cursor` says, nowhere behind; tell whether it is ahead."""
        gaps, ahead = [], {}
        for topic in sorted(client.topics & cursor.keys()):
            offsets = cursor[topic].offsets
            ahead[topic] = {p: o for p, o in offsets.items() if o > self.next[topic].get(p, 0)}
            client.floors[topic] = dict(ahead[topic])
            if any(offset > ends[topic].get(p, 0) for p, offset in offsets.items()):
                gaps.append(topic)
        for topic in gaps:
            # Where a gap is still to be told, the client stands where it said.
            del client.floors[topic]
            self.owe(client, "gap", topic=topic, reason="truncated")
        self.owe(client, "live", replayed=0)
        return any(ahead.values())

    # -- what the index has to be ------------------------------------------------------------------

    def followers(self) -> dict[str, dict[str, set[str]]]:
        """The ids of those who follow each account and room that anybody follows."""
        accounts: dict[str, set[str]] = {}
        rooms: dict[str, set[str]] = {}
        for client in self.live():
            if client.account is not None:
                accounts.setdefault(client.account, set()).add(client.id)
            for room in client.rooms:
                rooms.setdefault(room, set()).add(client.id)
        return {"accounts": accounts, "rooms": rooms}


def seen(text: bytes) -> dict[str, Any]:
    """What matters of a frame, its cursor read."""
    frame = read_frame(text)
    told = {name: frame[name] for name in ("op", *TOLD[frame["op"]])}
    if "cursor" in frame:
        cursor = frame["cursor"]
        told["cursor"] = cursor and {topic: tuple(p) for topic, p in read_cursor(cursor).items()}
    return told
