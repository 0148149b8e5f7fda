"""Any right history with one fault planted in it: the checker reports that fault, and only that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.deliveries import ExpectedRange, Observation, ProducedEvent
from tests.harness.delivery_checker import check
from tests.tiers import example_count

ACCOUNT, ROOM, TYPE = "alice", "lobby", "order.shipped"
FOLLOWED = frozenset({"orders", "news"})


@dataclass(frozen=True)
class History:
    """A client's frames, and what was produced; `due` are the events that came by right."""

    produced: list[ProducedEvent]
    frames: list[dict[str, Any]]
    resumed_with_positions: bool = True

    @property
    def due(self) -> dict[int, dict[str, Any]]:
        """The events by the frame's number, without those that another connection sees otherwise.

        A planted fault moves them about, and must stay the only one.
        """
        plain = {record.position for record in self.produced if not record.connections}
        return {n: f for n, f in enumerate(self.frames) if f.get("at") in plain}

    def faults(self) -> list[tuple[str, str]]:
        owed = [
            ExpectedRange(topic, p, 0, 10_000)
            for topic in ("orders", "news", "other")
            for p in (0, 1)
        ]
        seen = Observation(
            "client",
            ACCOUNT,
            FOLLOWED,
            owed,
            self.frames,
            frozenset({ROOM}),
            ("order.*",),
            self.resumed_with_positions,
        )
        return [(v.kind, v.position) for v in check(self.produced, [seen])]


def matched(record: ProducedEvent, connection: str) -> list[str]:
    """Every way in which the record is for the client, best first."""
    if record.topic not in FOLLOWED or record.type != TYPE:
        return []
    return (
        ["connection"] * (connection in record.connections)
        + ["account"] * (ACCOUNT in record.accounts)
        + [f"room:{ROOM}"] * (ROOM in record.rooms)
        + ["all"] * record.all
    )


def subset(*names: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(tuple)


RECORDS = st.builds(
    ProducedEvent,
    topic=st.sampled_from(["orders", "news", "other"]),
    partition=st.integers(0, 1),
    offset=st.just(0),
    id=st.just(""),
    type=st.sampled_from([TYPE, TYPE, TYPE, "bill.paid"]),
    connections=st.just(()) | subset("c0", "c1"),
    accounts=subset(ACCOUNT, "bob"),
    rooms=subset("attic", ROOM),
    all=st.booleans(),
)
RESUME = "the client comes back on another connection"
# Every history has two events of one partition, so that each fault finds its place.
SURE = [(ProducedEvent("orders", 0, 0, "", TYPE, accounts=(ACCOUNT,)), 1)] * 2
STEPS = st.lists(st.tuples(RECORDS, st.integers(1, 3)) | st.just(RESUME), max_size=25)


@st.composite
def histories(draw: st.DrawFn, *, to_connections: bool = True) -> History:
    """What a bridge without a fault would have sent, offsets with holes and all."""
    produced: list[ProducedEvent] = []
    ends: dict[tuple[str, int], int] = {}
    resumes = 0
    frames: list[dict[str, Any]] = [{"op": "welcome", "connection": "c0"}]
    for step in [*SURE, *draw(STEPS)]:
        if isinstance(step, str):
            resumes += 1
            frames.append({"op": "welcome", "connection": f"c{resumes}"})
            continue
        drawn, distance = step
        place = (drawn.topic, drawn.partition)
        ends[place] = ends.get(place, -1) + distance
        # A connection's id is not known before it is there.
        there = [f"c{n}" for n in range(resumes + 1)] if to_connections else []
        record = replace(
            drawn,
            offset=ends[place],
            id=f"id-{len(produced)}",
            connections=tuple(name for name in drawn.connections if name in there),
        )
        produced.append(record)
        if to := matched(record, f"c{resumes}"):
            frames.append(frame(record, to[0]))
    return History(produced, frames)


def frame(record: ProducedEvent, to: str) -> dict[str, Any]:
    return {
        "op": "event",
        "topic": record.topic,
        "at": record.position,
        "to": to,
        "id": record.id,
        "type": record.type,
        "data": None,
    }


def dropped(history: History, data: st.DataObject) -> tuple[str, str]:
    number, lost = pick(history, data)
    del history.frames[number]
    return "missing", lost["at"]


def doubled(history: History, data: st.DataObject) -> tuple[str, str]:
    number, again = pick(history, data)
    history.frames.insert(data.draw(st.integers(number + 1, len(history.frames))), again)
    return "twice", again["at"]


def swapped(history: History, data: st.DataObject) -> tuple[str, str]:
    logs = [frame.get("at", "").rpartition(":")[0] for frame in history.frames]
    pairs = [
        (early, late)
        for early, late in combinations(sorted(history.due), 2)
        if logs[early] == logs[late] and logs[early] not in logs[early + 1 : late]
    ]
    number, other = data.draw(st.sampled_from(pairs))
    early = history.frames[number]
    history.frames[number], history.frames[other] = history.frames[other], early
    return "out_of_order", early["at"]


def strayed(history: History, data: st.DataObject) -> tuple[str, str]:
    others = [r for r in history.produced if not (matched(r, "c0") or r.connections)]
    unheard = ProducedEvent("orders", 0, 9_999, "id-unheard", TYPE, all=True)
    record = data.draw(st.sampled_from([*others, unheard]))
    history.frames.insert(data.draw(st.integers(1, len(history.frames))), frame(record, "all"))
    return "stray", record.position


def misaddressed(history: History, data: st.DataObject) -> tuple[str, str]:
    number, right = pick(history, data)
    others = {"connection", "account", "room:lobby", "room:attic", "all", "alice"} - {right["to"]}
    history.frames[number] = {**right, "to": data.draw(st.sampled_from(sorted(others)))}
    return "wrong_to", right["at"]


def garbled(history: History, data: st.DataObject) -> tuple[str, str]:
    number, right = pick(history, data)
    wrongs: list[dict[str, Any]] = [{"id": "id-0x"}, {"type": "bill"}, {"deleted": True}]
    wrong = data.draw(st.sampled_from(wrongs))
    history.frames[number] = {**right, **wrong}
    return "wrong_content", right["at"]


def pick(history: History, data: st.DataObject) -> tuple[int, dict[str, Any]]:
    due = history.due
    number = data.draw(st.sampled_from(sorted(due)))
    return number, due[number]


# No deadline: how long an example takes says more about the machine than about the checker.
EXAMPLES = settings(deadline=None, max_examples=example_count(150))


@EXAMPLES
@given(histories())
def test_a_right_history_is_found_right(history):
    assert history.faults() == []


@pytest.mark.parametrize("plant", [dropped, doubled, swapped, strayed, misaddressed, garbled])
@EXAMPLES
@given(history=histories(), data=st.data())
def test_one_fault_is_found_and_nothing_else(plant, history, data):
    fault = plant(history, data)
    assert history.faults() == [fault]


@EXAMPLES
@given(histories(to_connections=False), st.data())
def test_a_hole_needs_a_gap_of_its_own_topic(history, data):
    start, end = sorted(data.draw(st.integers(1, len(history.frames))) for _ in range(2))
    lost = [n for n, f in history.due.items() if start <= n < end and f["topic"] == "orders"]
    kept = [f for n, f in enumerate(history.frames) if n not in lost]

    def with_gap(topic: str) -> list[tuple[str, str]]:
        told = [*kept[:start], {"op": "gap", "topic": topic}, *kept[start:]]
        return History(history.produced, told).faults()

    silent = sorted(("missing", history.frames[n]["at"]) for n in lost)
    assert sorted(History(history.produced, kept).faults()) == silent
    assert sorted(with_gap("news")) == silent
    assert with_gap("orders") == []


@EXAMPLES
@given(histories(), st.data())
def test_repeats_after_a_resume_are_excused_only_without_positions(history, data):
    _, again = pick(history, data)
    resume = {"op": "welcome", "connection": "c-last"}
    frames = [*history.frames, resume, again]
    assert History(history.produced, frames, resumed_with_positions=False).faults() == []
    assert History(history.produced, frames).faults() == [("twice", again["at"])]
