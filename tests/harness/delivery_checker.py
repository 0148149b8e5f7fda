"""The checker of deliveries: given what was produced and what each client got, what is wrong?

It knows the contract and nothing of the bridge. The rule kept here: it reports every breach of
promises 1 to 3 (order, nothing missed silently, nothing twice) and of `to`, and nothing else. It
asks two questions of each client, one after the other:

1. Of each event that came: is it for this client, is it right, and is it in its turn?
2. Of each event that was owed and did not come: was the client told, by a `gap` at that place?

Outside its reach: topics with `slow: latest`, rooms and subscriptions that change on the way, and
an event for a connection alone that was lost as that connection ended (none is replayed).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.harness.deliveries import (
    ExpectedRange,
    Kind,
    Observation,
    PartitionLog,
    ProducedEvent,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Violation", "check", "match_reason"]


def check(
    produced: Iterable[ProducedEvent], observations: Iterable[Observation]
) -> list[Violation]:
    """Every breach in what these clients were sent, given all that was produced."""
    by_position: dict[str, list[ProducedEvent]] = defaultdict(list)
    by_log: dict[PartitionLog, list[ProducedEvent]] = defaultdict(list)
    for record in produced:
        by_position[record.position].append(record)
        by_log[record.log].append(record)
    violations = []
    for observation in observations:
        client_check = _ClientCheck(observation)
        client_check.check_received(by_position)
        client_check.check_missing(by_log)
        violations += client_check.violations
    return violations


def match_reason(observation: Observation, connection: str, record: ProducedEvent) -> str | None:
    """The `to` with which this record is due on this connection: the first that matched.

    None if it is not for this client.
    """
    if record.topic not in observation.topics or not _type_matches(observation.types, record.type):
        return None
    if connection in record.connections:
        return "connection"
    if observation.account in record.accounts:
        return "account"
    for room in record.rooms:
        if room in observation.rooms:
            return f"room:{room}"
    return "all" if record.all else None


def _type_matches(types: tuple[str, ...] | None, type_: str) -> bool:
    return types is None or any(
        type_.startswith(wanted[:-1]) if wanted.endswith("*") else type_ == wanted
        for wanted in types
    )


class _Arrival(NamedTuple):
    """An event that came and was due: at which frame, on which connection."""

    frame: int
    connection: str
    offset: int


class _ClientCheck:
    """One client's case."""

    def __init__(self, observation: Observation) -> None:
        self.violations: list[Violation] = []
        self._observation = observation
        self._owed = {owed.log: owed for owed in observation.owed}
        # What the frames so far have told.
        self._connection = ""
        self._seen: set[tuple[PartitionLog, int]] = set()  # must not come again
        self._last_offsets: dict[
            tuple[str, int], int
        ] = {}  # by topic and partition: must be exceeded
        self._gap_frames: dict[str, list[int]] = defaultdict(list)  # by topic: at which frames
        self._arrivals: dict[PartitionLog, list[_Arrival]] = defaultdict(list)

    def check_received(self, by_position: Mapping[str, list[ProducedEvent]]) -> None:
        for number, frame in enumerate(self._observation.frames):
            match frame.get("op"):
                case "welcome":
                    self._connection = frame["connection"]
                    if not self._observation.resumed_with_positions:
                        self._seen.clear()
                        self._last_offsets.clear()
                case "gap":
                    self._gap_frames[frame["topic"]].append(number)
                    for place in [
                        place for place in self._last_offsets if place[0] == frame["topic"]
                    ]:
                        del self._last_offsets[place]
                case "event":
                    # Where two generations of a topic have a record each, the id tells which.
                    candidates = by_position.get(str(frame.get("at")), [])
                    same_id = [record for record in candidates if record.id == frame.get("id")]
                    self._check_event(number, frame, next(iter(same_id or candidates), None))

    def check_missing(self, by_log: Mapping[PartitionLog, list[ProducedEvent]]) -> None:
        for log, owed in self._owed.items():
            arrivals = self._arrivals[log]
            received_offsets = {arrival.offset for arrival in arrivals}
            highest = list(accumulate((arrival.offset for arrival in arrivals), max))
            for record in by_log.get(log, []):
                if owed.must_have(record.offset) and record.offset not in received_offsets:
                    # The client was carried past it between these two arrivals.
                    next_index = bisect_right(highest, record.offset)
                    before = arrivals[next_index - 1] if next_index else None
                    after = arrivals[next_index] if next_index < len(arrivals) else None
                    self._check_absence(record, owed, before, after)

    def _check_event(
        self, number: int, frame: Mapping[str, Any], record: ProducedEvent | None
    ) -> None:
        if record is None:
            self._report("stray", str(frame.get("at")), "was never produced")
            return
        expected_to = match_reason(self._observation, self._connection, record)
        owed = self._owed.get(record.log)
        if expected_to is None or not self._connection:
            self._report("stray", record.position, "is not for this client, or not yet")
        elif owed is None or not owed.may_have(record.offset):
            self._report("stray", record.position, "is from before this client's start")
        else:
            if frame.get("to") != expected_to:
                sentence = f"came to {frame.get('to')!r}, was due to {expected_to!r}"
                self._report("wrong_to", record.position, sentence)
            self._check_content(frame, record)
            self._check_order(record)
            arrival = _Arrival(number, self._connection, record.offset)
            self._arrivals[record.log].append(arrival)

    def _check_content(self, frame: Mapping[str, Any], record: ProducedEvent) -> None:
        expected = {"topic": record.topic, "id": record.id, "type": record.type, **record.content}
        for name, value in expected.items():
            if name not in frame or frame[name] != value:
                sentence = f"has {name} {frame.get(name)!r}, should have {value!r}"
                self._report("wrong_content", record.position, sentence)
        bodies = [name for name in ("data", "data_base64", "deleted") if name in frame]
        if len(bodies) != 1:
            sentence = f"must have one of data, data_base64 and deleted, has {bodies}"
            self._report("wrong_content", record.position, sentence)

    def _check_order(self, record: ProducedEvent) -> None:
        partition, log_offset = (record.topic, record.partition), (record.log, record.offset)
        last_offset = self._last_offsets.get(partition, -1)
        if log_offset in self._seen:
            self._report("twice", record.position, "came again")
        elif record.offset <= last_offset:
            self._report("out_of_order", record.position, f"came after offset {last_offset}")
        self._seen.add(log_offset)
        self._last_offsets[partition] = max(last_offset, record.offset)

    def _check_absence(
        self,
        record: ProducedEvent,
        owed: ExpectedRange,
        before: _Arrival | None,
        after: _Arrival | None,
    ) -> None:
        connection = after.connection if after else self._connection
        if match_reason(self._observation, connection, record) is None:
            return
        first_frame = before.frame if before else -1
        last_frame = after.frame if after else len(self._observation.frames)
        has_gap = any(first_frame < gap < last_frame for gap in self._gap_frames[record.topic])
        if not (has_gap and owed.may_be_in_gap(record.offset)):
            self._report("missing", record.position, "never came, and no gap told of it")

    def _report(self, kind: Kind, position: str, sentence: str) -> None:
        client = self._observation.client
        text = f"{client}: {position} {sentence}"
        self.violations.append(Violation(kind, client, position, text))
