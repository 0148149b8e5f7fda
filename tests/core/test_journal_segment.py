"""A stretch of one partition's events in packed bytes: nothing is lost in it, and all is found."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core import journal as module
from bridge.core.journal import ALL_KEY, Segment, account_key, connection_key, room_key
from bridge.core.protocol.event import Event
from tests.core.envelope_results import read_outcome
from tests.core.factories import event
from tests.core.strategies import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.core.factories import ConsumerRecord

EVERYTHING = 2**40
names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
audiences = st.fixed_dictionaries(
    {"connections": names, "accounts": names, "rooms": names, "all": st.booleans()}
)
#: Batches of events, each with how far it is from the one before.
batches = st.lists(
    st.lists(st.tuples(st.integers(1, 3), audiences), min_size=1, max_size=6), max_size=6
)
addresses = st.lists(st.tuples(st.sampled_from(["connections", "accounts", "rooms"]), names))
KEYS = {"connections": connection_key, "accounts": account_key, "rooms": room_key}


def segment(*batches: Sequence[Event]) -> Segment:
    made = Segment()
    for batch in batches:
        made.append(batch)
    return made


def found(of: Segment, keys: Sequence[int], place: int = 0) -> list[int]:
    """The offsets of the events that are found."""
    return [of.event(number).offset for number in of.find(keys, place)]


@given(
    batches,
    addresses,
    st.booleans(),
    st.integers(0, 40),
    st.lists(st.integers(1, 9)),
    st.integers(0, 20),
)
def test_what_is_found_is_what_a_look_at_each_would_find(
    made: list[list[tuple[int, dict[str, Any]]]],
    wanted: list[tuple[str, list[str]]],
    broadcasts: bool,
    place: int,
    portions: list[int],
    fresh: int,
) -> None:
    it, events, offset = Segment(), [], -1
    with mock.patch.object(module, "_MAX_RECENT_ENTRIES", fresh):
        for batch in made:
            packed = []
            for step, audience in batch:
                offset += step
                packed.append(event(offset, b"%d" % offset, **audience))
            it.append(packed)
            events += packed
            if portions:
                it.index_events(portions.pop())
        while it.has_unindexed_events:
            it.index_events(1)
    keys = [KEYS[kind](name) for kind, some in wanted for name in some] + [ALL_KEY] * broadcasts
    expected = [
        each
        for each in events
        if each.offset >= place
        and (
            (broadcasts and each.all)
            or any(name in getattr(each, kind) for kind, some in wanted for name in some)
        )
    ]
    assert found(it, keys, place) == [each.offset for each in expected]
    assert it.next_offset == offset + 1


@given(st.lists(records, min_size=1, max_size=5))
def test_whatever_a_record_says_comes_back_as_it_was(some: list[ConsumerRecord]) -> None:
    events = [
        understood for record in some if isinstance(understood := read_outcome(record), Event)
    ]
    it = segment(*([each] for each in events))
    it.index_events(EVERYTHING)
    back = [it.event(number) for number in range(len(events))]
    assert msgspec.json.encode(back) == msgspec.json.encode(events)


def test_the_same_name_of_another_kind_is_another_address() -> None:
    it = segment([event(1, rooms=["x"]), event(2, accounts=["x"]), event(3, connections=["x"])])
    it.index_events(EVERYTHING)
    assert found(it, [room_key("x")]) == [1]
    assert found(it, [account_key("x")]) == [2]
    assert found(it, [connection_key("x")]) == [3]
    assert found(it, [ALL_KEY]) == []


@pytest.mark.parametrize(("place", "offsets"), [(5, [5, 9]), (6, [9]), (9, [9]), (10, [])])
def test_a_place_is_the_first_offset_that_is_looked_at(place: int, offsets: list[int]) -> None:
    it = segment([event(5, all=True), event(9, all=True)])
    it.index_events(EVERYTHING)
    assert found(it, [ALL_KEY], place) == offsets


def test_one_that_is_for_somebody_in_several_ways_is_found_once() -> None:
    it = segment([event(1, rooms=["r", "r", "s"], accounts=["ann"], all=True)])
    it.index_events(EVERYTHING)
    assert found(it, [ALL_KEY, room_key("r"), room_key("s"), account_key("ann"), ALL_KEY]) == [1]


def test_packing_goes_on_oldest_first_and_tells_how_far_it_came() -> None:
    it = segment(*([event(2 * n, all=True), event(2 * n + 1, all=True)] for n in range(3)))
    assert it.has_unindexed_events
    assert found(it, [ALL_KEY]) == []
    assert it.index_events(3) == 4  # whole batches
    assert it.has_unindexed_events
    assert found(it, [ALL_KEY]) == [0, 1, 2, 3]
    it.append([event(9, all=True)])
    assert it.index_events(EVERYTHING) == 3
    assert not it.has_unindexed_events
    assert found(it, [ALL_KEY]) == [0, 1, 2, 3, 4, 5, 9]
    assert it.index_events(EVERYTHING) == 0


def test_what_is_kept_is_not_changed_by_what_happens_to_the_event_later() -> None:
    given_event = event(1, b"1", all=True)
    it = segment([given_event])
    given_event.data = b"2"
    it.index_events(EVERYTHING)
    assert it.event(0).data == b"1"


@pytest.mark.parametrize("packed", [0, 2500, 5000])
def test_it_knows_what_memory_it_takes(packed: int) -> None:
    batches = [
        [
            event(n, b"x" * 80, rooms=[f"order:{n}"], accounts=[f"a{n}"])
            for n in range(start, start + 50)
        ]
        for start in range(0, 5000, 50)
    ]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        it = segment(*batches)
        it.index_events(packed)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken == pytest.approx(it.size_bytes, rel=0.05)
