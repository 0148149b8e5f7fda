"""What may be replayed from Kafka: every verdict, topic by topic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.replay.retention import MISSING_TOPIC, LogBounds, ReplayRefused, check_retention
from tests.core.factories import TOPIC_ID

if TYPE_CHECKING:
    from collections.abc import Container

#: In memory there is everything from here on.
FLOORS = {0: 50, 1: 60}


def kafka(
    start: tuple[int, int] = (0, 0),
    end: tuple[int, int] = (100, 100),
    aged: tuple[int, int] = (0, 0),
) -> LogBounds:
    return LogBounds(TOPIC_ID, *(dict(enumerate(each)) for each in (start, end, aged)))


def verdict(at: dict[int, int], bounds: LogBounds, clip: Container[int] = ()) -> int | str:
    try:
        return check_retention(at, FLOORS, bounds, clampable_partitions=clip)
    except ReplayRefused as refused:
        return str(refused)


@pytest.mark.parametrize(
    ("at", "amount"),
    [
        ({0: 50, 1: 60}, 0),
        ({0: 100, 1: 100}, 0),
        ({0: 49, 1: 60}, 1),
        ({0: 40, 1: 40}, 30),
        ({0: 70, 1: 40}, 20),
        ({0: 50}, 60),
        ({}, 110),
    ],
)
def test_what_is_not_in_memory_has_to_be_read(at: dict[int, int], amount: int) -> None:
    before = dict(at)
    assert verdict(at, kafka()) == amount
    assert at == before


@pytest.mark.parametrize(
    ("at", "bounds", "expected"),
    [
        ({0: 100, 1: 100}, kafka(end=(100, 100)), 0),
        ({0: 101, 1: 100}, kafka(end=(100, 100)), "truncated"),
        ({0: 10, 1: 101}, kafka(end=(100, 100), start=(20, 0)), "truncated"),
        ({0: 50, 1: 60, 2: 1}, kafka(), "truncated"),
        ({0: 50, 1: 60, 2: 0}, kafka(), 0),
        ({0: 40, 1: 60}, kafka(start=(40, 0)), 10),
        ({0: 40, 1: 60}, kafka(start=(41, 0)), "expired"),
        ({0: 40, 1: 60}, kafka(start=(0, 60)), 10),
        ({0: 50, 1: 60}, kafka(start=(51, 61), aged=(99, 99)), 0),
        ({0: 40, 1: 60}, kafka(aged=(40, 99)), 10),
        ({0: 40, 1: 60}, kafka(aged=(41, 0)), "limit"),
        ({0: 40, 1: 60}, kafka(start=(41, 0), aged=(42, 0)), "expired"),
        ({1: 60}, kafka(start=(1, 0)), "expired"),
        ({0: 1, 1: 0}, MISSING_TOPIC, "truncated"),
        ({}, MISSING_TOPIC, "truncated"),
    ],
)
def test_a_topic_is_replayed_whole_or_refused(
    at: dict[int, int], bounds: LogBounds, expected: int | str
) -> None:
    assert verdict(at, bounds) == expected


@pytest.mark.parametrize(
    ("bounds", "place", "amount"),
    [
        (kafka(start=(41, 0)), 41, 9),
        (kafka(aged=(42, 0)), 42, 8),
        (kafka(start=(41, 0), aged=(42, 0)), 42, 8),
        (kafka(start=(42, 0), aged=(41, 0)), 42, 8),
        (kafka(aged=(70, 0)), 70, 0),
        (kafka(start=(40, 0)), 40, 10),
    ],
)
def test_who_knows_that_it_may_begin_later_begins_where_it_can(
    bounds: LogBounds, place: int, amount: int
) -> None:
    at = {0: 40, 1: 60}
    assert verdict(at, bounds, clip={0}) == amount
    assert at == {0: place, 1: 60}


def test_a_partition_that_is_not_named_begins_where_it_can_too() -> None:
    at = {1: 60}
    assert verdict(at, kafka(start=(41, 0)), clip={0}) == 9
    assert at == {0: 41, 1: 60}


def test_only_the_partitions_that_may_begin_later_do() -> None:
    assert verdict({0: 40, 1: 50}, kafka(start=(41, 51)), clip={0}) == "expired"
    assert verdict({0: 40, 1: 101}, kafka(), clip={0, 1}) == "truncated"
