"""The hub as somebody would explain it: for each event, go through everybody and see who gets it.

No index, no packed cursors, no shared frames, no bytes: too simple to be wrong. A frame that is
owed is written as what matters of it, with its cursor as plain offsets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import decode_cursor
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.core.protocol.cursor import TopicOffsets

#: How many frames an outbox holds before it takes no more events.
OUTBOX_FRAMES = 5
# What matters of each frame, beside its cursor.
COMPARED_FIELDS = {
    "event": ("at", "to"),
    "welcome": ("topics", "rooms"),
    "reply": ("topics", "rooms"),
    "gap": ("topic", "reason"),
    "live": ("replayed",),
    "closing": ("code",),
    "rooms": ("joined", "left"),
    "heartbeat": (),
}


class ModelEvent(NamedTuple):
    """One event, as a producer thinks of it."""

    offset: int
    type: str
    connections: list[str]
    accounts: list[str]
    rooms: list[str]
    all: bool


class ModelClient:
    """What one client is, and what it is owed since it came."""

    def __init__(self, id: str, account: str | None, topics: set[str]) -> None:
        self.id = id
        self.account = account
        self.topics = topics
        self.room_sources: dict[str, set[str]] = {}
        self.types: list[str] | None = None
        self.min_offsets: dict[str, dict[int, int]] = {}
        self.expected_frames: list[dict[str, Any]] = []
        self.taken_count = 0
        self.is_live = True

    @property
    def rooms(self) -> list[str]:
        return sorted(room for room, sources in self.room_sources.items() if sources)

    def match_reason(self, topic: str, partition: int, event: ModelEvent) -> str | None:
        """Why this client gets `event`; None where it does not."""
        type_matches = self.types is None or any(
            event.type == wanted or (wanted[-1] == "*" and event.type.startswith(wanted[:-1]))
            for wanted in self.types
        )
        is_already_seen = event.offset < self.min_offsets.get(topic, {}).get(partition, 0)
        if topic not in self.topics or not type_matches or is_already_seen:
            return None
        reasons = [
            *("connection" for name in event.connections if name == self.id),
            *("account" for name in event.accounts if name == self.account),
            *(f"room:{name}" for name in event.rooms if name in self.rooms),
            *(["all"] if event.all else []),
        ]
        return reasons[0] if reasons else None


class HubModel:
    """What has happened on one instance, and what everybody is owed because of it."""

    def __init__(self, topics: list[str], topic_id: bytes) -> None:
        self.next_offsets = {topic: {0: 0, 1: 0} for topic in topics}
        self.topic_ids = dict.fromkeys(topics, topic_id)
        self.clients: dict[str, ModelClient] = {}
        self.delivered_count = 0

    def live_clients(self) -> Iterator[ModelClient]:
        return (client for client in list(self.clients.values()) if client.is_live)

    def cursor(self, client: ModelClient) -> dict[str, tuple[bytes, dict[int, int]]]:
        """What covers exactly the frames that `client` is owed by now."""
        cursor = {}
        for topic in client.topics:
            offsets = dict(self.next_offsets[topic])
            for partition, floor in client.min_offsets.get(topic, {}).items():
                offsets[partition] = max(floor, offsets.get(partition, 0))
            cursor[topic] = (self.topic_ids[topic], offsets)
        return cursor

    def expect_frame(self, client: ModelClient, op: str, **fields: Any) -> None:
        client.expected_frames.append({"op": op, "cursor": self.cursor(client), **fields})

    def publish(
        self, topic: str, partition: int, events: list[ModelEvent], next_offset: int
    ) -> None:
        for event in events:
            self.next_offsets[topic][partition] = event.offset
            for client in self.live_clients():
                reason = client.match_reason(topic, partition, event)
                if reason is None:
                    continue
                if len(client.expected_frames) - client.taken_count >= OUTBOX_FRAMES:
                    self.close(client, 4002)
                else:
                    position = f"{topic}:{partition}:{event.offset}"
                    client.expected_frames.append({"op": "event", "at": position, "to": reason})
                    self.delivered_count += 1
        self.next_offsets[topic][partition] = next_offset

    def close(self, client: ModelClient, code: int, *, discard: bool = False) -> None:
        if not client.is_live:
            return
        pending_count = len(client.expected_frames) - client.taken_count
        if discard:
            del client.expected_frames[client.taken_count :]
        self.expect_frame(client, "closing", code=code)
        if discard and pending_count:
            client.expected_frames[-1]["cursor"] = None
        client.is_live = False

    def gap(self, topic: str, reason: str) -> None:
        for client in self.live_clients():
            if topic in client.topics:
                client.min_offsets.pop(topic, None)
                self.expect_frame(client, "gap", topic=topic, reason=reason)

    def resume(
        self,
        client: ModelClient,
        cursor: Mapping[str, TopicOffsets],
        ends: Mapping[str, Mapping[int, int]],
    ) -> bool:
        """Let `client` begin where `cursor` says, nowhere behind; tell whether it is ahead."""
        gaps, ahead = [], {}
        for topic in sorted(client.topics & cursor.keys()):
            offsets = cursor[topic].offsets
            ahead[topic] = {
                p: o for p, o in offsets.items() if o > self.next_offsets[topic].get(p, 0)
            }
            client.min_offsets[topic] = dict(ahead[topic])
            if any(offset > ends[topic].get(p, 0) for p, offset in offsets.items()):
                gaps.append(topic)
        for topic in gaps:
            # Where a gap is still to be told, the client stands where it said.
            del client.min_offsets[topic]
            self.expect_frame(client, "gap", topic=topic, reason="truncated")
        self.expect_frame(client, "live", replayed=0)
        return any(ahead.values())

    # -- what the index has to be ------------------------------------------------------------------

    def subscribers(self) -> dict[str, dict[str, set[str]]]:
        """The ids of those who follow each account and room that anybody follows."""
        accounts: dict[str, set[str]] = {}
        rooms: dict[str, set[str]] = {}
        for client in self.live_clients():
            if client.account is not None:
                accounts.setdefault(client.account, set()).add(client.id)
            for room in client.rooms:
                rooms.setdefault(room, set()).add(client.id)
        return {"by_account": accounts, "by_room": rooms}


def comparable_frame(text: bytes) -> dict[str, Any]:
    """What matters of a frame, its cursor read."""
    frame = read_frame(text)
    compared = {name: frame[name] for name in ("op", *COMPARED_FIELDS[frame["op"]])}
    if "cursor" in frame:
        cursor = frame["cursor"]
        compared["cursor"] = cursor and {
            topic: (p.topic_id, p.offsets) for topic, p in decode_cursor(cursor).items()
        }
    return compared
