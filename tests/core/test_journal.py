"""The recent tail of every partition: complete from its floor on, within its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import pytest

from bridge.core import journal as module
from bridge.core.journal import ALL_KEY, Journal, JournalRange
from tests.core.factories import event

if TYPE_CHECKING:
    from bridge.core.protocol.event import Event

EVERYTHING = 2**40


def small(budget: int = 100_000, segment_bytes: int = 600) -> Journal:
    """Return a journal of some segments, each of which is closed after one batch."""
    with mock.patch.multiple(module, MIN_BUDGET_BYTES=0, MAX_SEGMENT_BYTES=segment_bytes):
        return Journal(budget)


def batch(start: int, count: int = 1, step: int = 1) -> list[Event]:
    return [event(start + step * n, b"%d" % (start + step * n), all=True) for n in range(count)]


def keep(to: Journal, *starts: int, topic: str = "orders", partition: int = 0) -> None:
    """Keep an event at each of these offsets, a batch of its own."""
    for start in starts:
        to.append(topic, partition, batch(start), start + 1)


def kept(of: Journal, tail: JournalRange, place: int | None = None) -> list[int]:
    """The offsets of the events that `tail` has."""
    offsets = []
    for segment in tail.segments_from(tail.start_offset if place is None else place):
        of.index_segment(segment, EVERYTHING)
        offsets += [segment.event(n).offset for n in segment.find([ALL_KEY], place or 0)]
    return offsets


def begun(budget: int = 100_000, offset: int = 10) -> Journal:
    made = small(budget)
    made.reset_partition("orders", 0, offset)
    return made


# -- one tail --------------------------------------------------------------------------------------


def test_what_is_read_is_kept_from_the_first_offset_on() -> None:
    it = begun()
    assert (it.start_offset("orders", 0), it.partition("orders", 0).next_offset) == (10, 10)
    it.append("orders", 0, [*batch(10, 3), *batch(14, 2)], 20)
    it.append("orders", 0, [], 25)
    it.append("orders", 0, batch(27), 30)
    tail = it.partition("orders", 0)
    assert (tail.start_offset, tail.next_offset) == (10, 30)
    assert kept(it, tail) == [10, 11, 12, 14, 15, 27]


@pytest.mark.parametrize(
    ("place", "offsets"), [(10, [10, 12, 14]), (11, [12, 14]), (13, [14]), (15, [])]
)
def test_only_what_has_offsets_from_a_place_on_is_looked_at(place: int, offsets: list[int]) -> None:
    it = begun(offset=5)
    keep(it, 10, 12, 14)
    tail = it.partition("orders", 0)
    assert len(list(tail.segments_from(place))) == len(offsets)
    assert kept(it, tail, place) == offsets


def test_what_was_never_begun_begins_at_nothing() -> None:
    assert small().start_offset("orders", 0) == 0


def test_what_begins_anew_forgets_what_was_before_and_no_other() -> None:
    it = begun()
    it.reset_partition("orders", 1, 5)
    it.reset_partition("news", 0, 5)
    keep(it, 10)
    keep(it, 5, partition=1)
    keep(it, 5, topic="news")
    it.reset_partition("orders", 0, 20)
    assert (kept(it, it.partition("orders", 0)), it.start_offset("orders", 0)) == ([], 20)
    assert (kept(it, it.partition("orders", 1)), kept(it, it.partition("news", 0))) == ([5], [5])
    it.remove_topic("orders")
    assert (it.start_offset("orders", 0), it.start_offset("orders", 1)) == (0, 0)
    assert kept(it, it.partition("news", 0)) == [5]
    assert it.used_bytes == sum(segment.size_bytes for segment in it.partition("news", 0).segments)


# -- the budget ------------------------------------------------------------------------------------


def test_what_is_oldest_goes_first_whichever_partition_it_is_of() -> None:
    it = small(2800)  # four segments of one event
    for partition in (0, 1):
        it.reset_partition("orders", partition, 10)
    tails = [it.partition("orders", partition) for partition in (0, 1)]
    for offset in (10, 11, 12):
        for partition in (0, 1):
            keep(it, offset, partition=partition)
    assert [(tail.start_offset, tail.next_offset) for tail in tails] == [(11, 13), (11, 13)]
    keep(it, 13, 14, 15, partition=1)
    assert [(tail.start_offset, tail.next_offset) for tail in tails] == [(13, 13), (12, 16)]
    assert [kept(it, tail) for tail in tails] == [[], [12, 13, 14, 15]]


def test_how_old_the_oldest_is_is_known_whatever_goes() -> None:
    it = begun()
    it.reset_partition("news", 0, 0)
    assert it.oldest_timestamp_ms is None
    for at, topic in enumerate(("news", "orders", "news")):
        it.append(topic, 0, [event(20 + at, timestamp=1000 + at)], 21 + at)
    assert it.oldest_timestamp_ms == 1000
    it.reset_partition("news", 0, 0)
    assert it.oldest_timestamp_ms == 1001
    it.reset_partition("orders", 0, 0)
    assert it.oldest_timestamp_ms is None


def test_after_all_of_a_partition_went_it_is_complete_from_what_follows() -> None:
    it = begun(2800)
    it.append("orders", 0, batch(10), 20)  # nothing that anybody could want between 11 and 20
    it.reset_partition("orders", 1, 0)
    keep(it, *range(5), partition=1)
    assert (it.start_offset("orders", 0), it.partition("orders", 0).next_offset) == (11, 20)
    keep(it, 20)
    assert (it.start_offset("orders", 0), kept(it, it.partition("orders", 0))) == (11, [20])


def test_the_budget_holds_whatever_is_asked_for() -> None:
    it = begun(60_000)
    for start in range(10, 1000, 10):
        it.append("orders", 0, batch(start, 10), start + 10)
    assert 55_000 < it.used_bytes <= 60_000
    floor = it.start_offset("orders", 0)
    for segment in it.partition("orders", 0).segments_from(0):
        it.index_segment(segment, EVERYTHING)
    assert it.used_bytes == sum(
        segment.size_bytes for segment in it.partition("orders", 0).segments
    )
    assert it.used_bytes > 60_000  # the index takes memory too,
    it.evict()
    assert it.used_bytes <= 60_000  # for which something has to go
    assert it.start_offset("orders", 0) > floor


def test_a_tail_there_always_is_however_small_the_budget() -> None:
    it = Journal(0)
    it.reset_partition("orders", 0, 0)
    it.append("orders", 0, [event(n, b"x" * 1000, all=True) for n in range(900)], 900)
    assert it.start_offset("orders", 0) == 0
    it.append("orders", 0, [event(n, b"x" * 1000, all=True) for n in range(900, 1800)], 1800)
    assert it.start_offset("orders", 0) == 900


# -- stretches that are read again -----------------------------------------------------------------


def stretched(it: Journal, offset: int, *starts: int, next: int | None = None) -> JournalRange:
    made = it.start_backfill(offset)
    for start in starts:
        it.extend_backfill(made, batch(start), start + 1)
    if next is not None:
        it.extend_backfill(made, [], next)
    return made


def test_a_stretch_that_reaches_the_floor_is_put_below_it() -> None:
    it = begun()
    keep(it, 10, 11)
    before = it.used_bytes
    stretch = stretched(it, 3, 4, 6, 8, next=10)
    assert it.used_bytes > before
    assert it.has_backfill(stretch)
    it.prepend_backfill("orders", 0, stretch)
    tail = it.partition("orders", 0)
    assert (tail.start_offset, tail.next_offset, kept(it, tail)) == (3, 12, [4, 6, 8, 10, 11])
    assert it.used_bytes == sum(segment.size_bytes for segment in tail.segments)
    assert not it.has_backfill(stretch)


@pytest.mark.parametrize("next", [None, 9, 11])
def test_a_stretch_that_ends_elsewhere_is_forgotten(next: int | None) -> None:
    it = begun()
    keep(it, 10, 11)
    before = it.used_bytes
    it.prepend_backfill("orders", 0, stretched(it, 3, 4, next=next))
    assert (it.start_offset("orders", 0), it.used_bytes) == (10, before)
    assert kept(it, it.partition("orders", 0)) == [10, 11]


def test_a_stretch_of_nothing_that_is_for_anybody_moves_the_floor_too() -> None:
    it = begun()
    it.prepend_backfill("orders", 0, stretched(it, 3, next=10))
    assert it.start_offset("orders", 0) == 3


def test_of_two_stretches_of_the_same_one_is_enough() -> None:
    it = begun()
    first, second = stretched(it, 3, 4, next=10), stretched(it, 5, 6, next=10)
    it.prepend_backfill("orders", 0, first)
    it.prepend_backfill("orders", 0, second)
    it.prepend_backfill("orders", 0, first)
    assert (it.start_offset("orders", 0), kept(it, it.partition("orders", 0))) == (3, [4])


def test_what_was_read_again_is_the_oldest_of_all() -> None:
    it = begun(4200)  # six segments of one event
    keep(it, 10, 11, 12)
    it.prepend_backfill("orders", 0, stretched(it, 7, 7, 8, 9))
    keep(it, 13, 14)
    assert kept(it, it.partition("orders", 0)) == [9, 10, 11, 12, 13, 14]


def test_a_stretch_that_does_not_fit_is_dropped_and_what_is_kept_stays() -> None:
    it = begun(2800)
    keep(it, 10, 11, 12)
    stretch = stretched(it, 7, 7, 8, 9)
    assert not it.has_backfill(stretch)
    it.prepend_backfill("orders", 0, stretch)
    assert (it.start_offset("orders", 0), kept(it, it.partition("orders", 0))) == (10, [10, 11, 12])
    assert it.used_bytes == sum(
        segment.size_bytes for segment in it.partition("orders", 0).segments
    )


def test_of_what_is_no_more_what_it_was_nothing_that_is_read_again_is_kept() -> None:
    it = begun()
    before = stretched(it, 3, 4)
    it.reset_partition("orders", 0, 5)  # another life of the topic, or a log that was cut off
    it.prepend_backfill("orders", 0, before)
    assert (it.start_offset("orders", 0), kept(it, it.partition("orders", 0)), it.used_bytes) == (
        5,
        [],
        0,
    )
