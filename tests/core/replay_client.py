"""One client that follows a stream across its connections, and judges every frame it is sent.

It knows all that was ever written (`replay_world`), and where it stands: from one cursor to the
next it must have been sent exactly what is for it between the two, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor, parse_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.core.sessions.session import Session
    from tests.core.replay_instance import ReplayInstance
    from tests.core.replay_world import ReplayWorld, WrittenEvent


class ReplaySubscription:
    """What a client wants."""

    def __init__(
        self,
        account: str | None,
        topics: Iterable[str],
        rooms: Iterable[str],
        types: list[str] | None,
    ) -> None:
        self.account = account
        self.topics = set(topics)
        self.rooms = set(rooms)
        self.types = types

    def match_reason(self, event: WrittenEvent) -> str | None:
        """Why this client gets `event`; None where it does not."""
        if self.types is not None and event.type not in self.types:
            return None
        reasons = [
            *("account" for name in event.accounts if name == self.account),
            *(f"room:{name}" for name in event.rooms if name in self.rooms),
            *(["all"] if event.all else []),
        ]
        return reasons[0] if reasons else None


class ReplayClient:
    """One connection of it. `begun` is where it may begin later, if it asked for a time."""

    def __init__(
        self,
        world: ReplayWorld,
        instance: ReplayInstance,
        session: Session,
        subscription: ReplaySubscription,
        transport_kind: bytes,
    ) -> None:
        self.world = world
        self.instance = instance
        self.session = session
        self.subscription = subscription
        self.transport_kind = transport_kind  # of its socket
        self.positions: dict[str, TopicOffsets] = {}
        self.since_offsets: dict[str, dict[int, int]] = {}
        self.silent_jumps: dict[tuple[str, int], int] = {}  # to be made in silence, because of that
        self.frames: list[dict[str, Any]] = []
        self.checked_count = 0  # frames in its outbox, when it was last looked at
        self.replayed_count = 0
        self.received_offsets: dict[tuple[str, int], list[int]] = {}  # since the last cursor
        self.state = "opening"

    # -- where it stands ---------------------------------------------------------------------------

    def begin(self, cursor: Cursor | None, text: str = "", *, is_since: bool = False) -> None:
        """Stand where `cursor` says, or where the instance does."""
        self.cursor_text = text
        self.state = "live" if cursor is None else "replaying"
        for topic in self.subscription.topics:
            instance_place = self.instance.read_place(topic)
            place = (cursor or {}).get(topic, instance_place)
            self.positions[topic] = TopicOffsets(
                place.topic_id or instance_place.topic_id, dict(place.offsets)
            )
        if is_since:
            self.since_offsets = {
                topic: dict(place.offsets) for topic, place in self.positions.items()
            }

    def next_offset(self, topic: str, partition: int) -> int:
        return self.positions[topic].offsets.get(partition, 0)

    def is_recreated(self, topic: str) -> bool:
        """Whether it stands in another life of the topic than the instance."""
        own_id, instance_id = (
            self.positions[topic].topic_id,
            self.instance.read_place(topic).topic_id,
        )
        return bool(own_id and instance_id) and own_id != instance_id

    def missing_ranges(self) -> dict[tuple[str, int], tuple[int, int]]:
        """What the instance does not have in memory of what is owed."""
        return {
            (topic, partition): (self.next_offset(topic, partition), floor)
            for topic in self.subscription.topics
            for partition in self.instance.read_place(topic).offsets
            if self.next_offset(topic, partition) < (floor := self.instance.floor(topic, partition))
        }

    def is_ahead(self) -> bool:
        return any(
            offset > self.instance.read_place(topic).offsets.get(partition, 0)
            for topic in self.subscription.topics
            for partition, offset in self.positions[topic].offsets.items()
        )

    @property
    def is_scanned(self) -> bool:
        """Whether a pass serves it."""
        return any(self.session in scan.subscriptions.all_sessions for scan in self.instance.scans)

    @property
    def awaits_bounds(self) -> bool:
        """Whether it waits for Kafka's verdict."""
        replay = self.session.replay
        waits = replay is not None and not replay.is_admitted and not self.is_scanned
        return waits and (bool(self.missing_ranges()) or self.is_ahead())

    @property
    def awaits_scan(self) -> bool:
        """Whether it waits for a pass."""
        replay = self.session.replay
        waits = replay is not None and replay.is_admitted and not self.is_scanned
        return waits and bool(self.missing_ranges())

    def expected_gaps(self, max_records: int) -> dict[str, str]:
        """The gaps that Kafka's bounds and a limit in records demand; `leaps` are set too."""
        gaps: dict[str, str] = {}
        record_counts: list[tuple[int, str]] = []
        for topic in sorted(self.subscription.topics):
            if not self.is_recreated(topic):
                count, reason = self._records_or_gap(topic)
                if reason is None:
                    record_counts.append((count, topic))
                else:
                    gaps[topic] = reason
        total = self.session.replay.records_read if self.session.replay else 0
        for count, topic in sorted(record_counts):
            total += count
            if count and total > max_records:
                gaps[topic] = "limit"
        return gaps

    def _records_or_gap(self, topic: str) -> tuple[int, str | None]:
        """How many records of a topic have to be read, or why they can not be."""
        bounds, since_offsets = self.world.bounds(topic), self.since_offsets.get(topic)
        if any(
            offset > bounds.end_offsets.get(n, 0)
            for n, offset in self.positions[topic].offsets.items()
        ):
            return 0, "truncated"
        count, jumps = 0, dict[tuple[str, int], int]()
        for partition in self.instance.read_place(topic).offsets:
            offset, floor = (
                self.next_offset(topic, partition),
                self.instance.floor(topic, partition),
            )
            start = bounds.start_offsets.get(partition, 0)
            oldest = max(start, bounds.replayable_from.get(partition, 0))
            if offset >= floor:
                continue
            if offset < oldest:
                if since_offsets is None or offset != since_offsets.get(partition, 0):
                    return 0, "expired" if offset < start else "limit"
                jumps[topic, partition] = offset = oldest
            count += max(0, floor - offset)
        self.silent_jumps.update(jumps)
        for (_, partition), offset in jumps.items():
            self.since_offsets[topic][partition] = offset
        return count, None

    def resume_cursor(self, count: int) -> str | None:
        """How it would resume if it had received so many frames; None before any cursor."""
        cursor, positions = None, dict[str, str]()
        for frame in self.frames[:count]:
            if frame["op"] == "event":
                positions[frame["at"].rpartition(":")[0]] = frame["at"]
            elif frame.get("cursor") is not None:
                cursor, positions = frame["cursor"], {}
        return cursor and ",".join([cursor, *positions.values()])

    # -- what it is sent ---------------------------------------------------------------------------

    def check_frame(self, frame: dict[str, Any], gaps: dict[str, str]) -> None:
        """Judge one frame; `gaps` has those that have to come, and loses the one that did."""
        assert self.state != "closed", "after its end"
        self.frames.append(frame)
        match frame["op"]:
            case "event":
                self._check_event(frame)
                return
            case "welcome":
                assert frame["cursor"] == self.cursor_text or not self.cursor_text
                cursor = decode_cursor(frame["cursor"])
                if not self.cursor_text:
                    self.check_cursor(cursor)
                return
            case "gap":
                assert gaps.pop(frame["topic"], None) == frame["reason"]
                self._check_gap(frame["topic"], frame["reason"])
            case "live":
                assert (self.state, frame["replayed"]) == ("replaying", self.replayed_count)
                self.state = "live"
        self.check_cursor(decode_cursor(frame["cursor"]))
        if frame["op"] == "closing":
            self.state = "closed"

    def _check_event(self, frame: dict[str, Any]) -> None:
        topic, partition, offset = parse_position(frame["at"])
        topic_id = self.positions[topic].topic_id
        (fact,) = self.world.events_between(topic, topic_id, partition, offset, offset + 1)
        assert (fact.number, self.subscription.match_reason(fact)) == (frame["data"], frame["to"])
        received = self.received_offsets.setdefault((topic, partition), [])
        assert offset > (received[-1] if received else self.next_offset(topic, partition) - 1), (
            "twice or late"
        )
        received.append(offset)
        self.replayed_count += 1

    def _check_gap(self, topic: str, reason: str) -> None:
        for partition in [number for name, number in self.received_offsets if name == topic]:
            received = self.received_offsets.pop((topic, partition))
            assert received == self._expected_offsets(topic, partition, received[-1] + 1)
        self.silent_jumps = {key: to for key, to in self.silent_jumps.items() if key[0] != topic}
        instance_place = self.instance.read_place(topic)
        restarts = reason == "recreated" and self.state == "replaying"
        self.positions[topic] = TopicOffsets(
            instance_place.topic_id, {} if restarts else dict(instance_place.offsets)
        )
        self.since_offsets.pop(topic, None)
        if restarts:
            self.since_offsets[topic] = {}

    def _expected_offsets(self, topic: str, partition: int, end: int) -> list[int]:
        position = self.positions[topic]
        start = position.offsets.get(partition, 0)
        facts = self.world.events_between(topic, position.topic_id, partition, start, end)
        return [fact.offset for fact in facts if self.subscription.match_reason(fact) is not None]

    def has_caught_up(self) -> bool:
        """Whether nothing is owed that the instance has read."""
        return not any(
            self.next_offset(topic, partition) < offset
            for topic in self.subscription.topics
            for partition, offset in self.instance.read_place(topic).offsets.items()
        )

    def check_cursor(self, cursor: Mapping[str, TopicOffsets]) -> None:
        """Judge a cursor: it has to cover exactly what came."""
        assert cursor.keys() == self.subscription.topics
        for topic, (identity, offsets, _) in cursor.items():
            assert identity == self.positions[topic].topic_id
            for partition in {*offsets, *self.positions[topic].offsets}:
                offset = offsets.get(partition, 0)
                assert offset >= self.next_offset(topic, partition), "falls back"
                received = self.received_offsets.pop((topic, partition), [])
                if self.silent_jumps.get((topic, partition)) == offset:
                    del self.silent_jumps[topic, partition]
                    assert received == []
                else:
                    assert received == self._expected_offsets(topic, partition, offset)
            self.positions[topic] = TopicOffsets(identity, dict(offsets))
        assert self.received_offsets == {}
