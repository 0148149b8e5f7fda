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

from tests.harness.deliveries import Kind, Log, Observation, Owed, Produced, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Observation", "Owed", "Produced", "Violation", "check", "reason"]


def check(produced: Iterable[Produced], observations: Iterable[Observation]) -> list[Violation]:
    """Every breach in what these clients were sent, given all that was produced."""
    found_at: dict[str, list[Produced]] = defaultdict(list)
    kept_in: dict[Log, list[Produced]] = defaultdict(list)
    for record in produced:
        found_at[record.position].append(record)
        kept_in[record.log].append(record)
    violations = []
    for observation in observations:
        judged = _Judged(observation)
        judged.judge_what_came(found_at)
        judged.judge_what_did_not(kept_in)
        violations += judged.violations
    return violations


def reason(observation: Observation, connection: str, record: Produced) -> str | None:
    """The `to` with which this record is due on this connection: the first that matched.

    None if it is not for this client.
    """
    if record.topic not in observation.topics or not _admits(observation.types, record.type):
        return None
    if connection in record.connections:
        return "connection"
    if observation.account in record.accounts:
        return "account"
    for room in record.rooms:
        if room in observation.rooms:
            return f"room:{room}"
    return "all" if record.all else None


def _admits(types: tuple[str, ...] | None, type_: str) -> bool:
    return types is None or any(
        type_.startswith(wanted[:-1]) if wanted.endswith("*") else type_ == wanted
        for wanted in types
    )


class _Arrival(NamedTuple):
    """An event that came and was due: at which frame, on which connection."""

    frame: int
    connection: str
    offset: int


class _Judged:
    """One client's case."""

    def __init__(self, observation: Observation) -> None:
        self.violations: list[Violation] = []
        self._observation = observation
        self._owed = {owed.log: owed for owed in observation.owed}
        # What the frames so far have told.
        self._connection = ""
        self._seen: set[tuple[Log, int]] = set()  # must not come again
        self._last: dict[tuple[str, int], int] = {}  # by topic and partition: must be exceeded
        self._gaps: dict[str, list[int]] = defaultdict(list)  # by topic: at which frames
        self._arrivals: dict[Log, list[_Arrival]] = defaultdict(list)

    def judge_what_came(self, found_at: Mapping[str, list[Produced]]) -> None:
        for number, frame in enumerate(self._observation.frames):
            match frame.get("op"):
                case "welcome":
                    self._connection = frame["connection"]
                    if not self._observation.resumed_with_positions:
                        self._seen.clear()
                        self._last.clear()
                case "gap":
                    self._gaps[frame["topic"]].append(number)
                    for place in [place for place in self._last if place[0] == frame["topic"]]:
                        del self._last[place]
                case "event":
                    # Where two generations of a topic have a record each, the id tells which.
                    there = found_at.get(str(frame.get("at")), [])
                    named = [record for record in there if record.id == frame.get("id")]
                    self._judge_event(number, frame, next(iter(named or there), None))

    def judge_what_did_not(self, kept_in: Mapping[Log, list[Produced]]) -> None:
        for log, owed in self._owed.items():
            arrivals = self._arrivals[log]
            came = {arrival.offset for arrival in arrivals}
            highest = list(accumulate((arrival.offset for arrival in arrivals), max))
            for record in kept_in.get(log, []):
                if owed.must_have(record.offset) and record.offset not in came:
                    # The client was carried past it between these two arrivals.
                    beyond = bisect_right(highest, record.offset)
                    before = arrivals[beyond - 1] if beyond else None
                    after = arrivals[beyond] if beyond < len(arrivals) else None
                    self._judge_absence(record, owed, before, after)

    def _judge_event(self, number: int, frame: Mapping[str, Any], record: Produced | None) -> None:
        if record is None:
            self._report("stray", str(frame.get("at")), "was never produced")
            return
        to = reason(self._observation, self._connection, record)
        owed = self._owed.get(record.log)
        if to is None or not self._connection:
            self._report("stray", record.position, "is not for this client, or not yet")
        elif owed is None or not owed.may_have(record.offset):
            self._report("stray", record.position, "is from before this client's start")
        else:
            if frame.get("to") != to:
                sentence = f"came to {frame.get('to')!r}, was due to {to!r}"
                self._report("wrong_to", record.position, sentence)
            self._judge_content(frame, record)
            self._judge_turn(record)
            arrival = _Arrival(number, self._connection, record.offset)
            self._arrivals[record.log].append(arrival)

    def _judge_content(self, frame: Mapping[str, Any], record: Produced) -> None:
        due = {"topic": record.topic, "id": record.id, "type": record.type, **record.content}
        for name, value in due.items():
            if name not in frame or frame[name] != value:
                sentence = f"has {name} {frame.get(name)!r}, should have {value!r}"
                self._report("wrong_content", record.position, sentence)
        bodies = [name for name in ("data", "data_base64", "deleted") if name in frame]
        if len(bodies) != 1:
            sentence = f"must have one of data, data_base64 and deleted, has {bodies}"
            self._report("wrong_content", record.position, sentence)

    def _judge_turn(self, record: Produced) -> None:
        partition, this = (record.topic, record.partition), (record.log, record.offset)
        last = self._last.get(partition, -1)
        if this in self._seen:
            self._report("twice", record.position, "came again")
        elif record.offset <= last:
            self._report("out_of_order", record.position, f"came after offset {last}")
        self._seen.add(this)
        self._last[partition] = max(last, record.offset)

    def _judge_absence(
        self, record: Produced, owed: Owed, before: _Arrival | None, after: _Arrival | None
    ) -> None:
        connection = after.connection if after else self._connection
        if reason(self._observation, connection, record) is None:
            return
        first = before.frame if before else -1
        last = after.frame if after else len(self._observation.frames)
        told = any(first < gap < last for gap in self._gaps[record.topic])
        if not (told and owed.may_be_told_instead(record.offset)):
            self._report("missing", record.position, "never came, and no gap told of it")

    def _report(self, kind: Kind, position: str, sentence: str) -> None:
        client = self._observation.client
        text = f"{client}: {position} {sentence}"
        self.violations.append(Violation(kind, client, position, text))
