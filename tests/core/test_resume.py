"""Contract 3.3: what a client that comes back is owed, topic by topic."""

from __future__ import annotations

import pytest

from bridge.core.log import Log
from bridge.core.position import Place
from bridge.core.resume import Resumption, ahead, resume
from tests.core.given import LIFE, OTHER_LIFE


def log(identity: bytes = LIFE) -> Log:
    made = Log("orders")
    made.begin(identity, {0: 10, 1: 20})
    return made


def test_one_that_stands_where_this_instance_does_has_missed_nothing() -> None:
    assert resume(Place(LIFE, {0: 10, 1: 20}), log(), {}) == Resumption(None, {})


@pytest.mark.parametrize("ends", [12, 13])
def test_one_ahead_of_a_slow_instance_is_sent_nothing_that_it_has(ends: int) -> None:
    place = Place(LIFE, {0: 12, 1: 20})
    assert resume(place, log(), {0: ends}) == Resumption(None, {0: 12})


def test_one_beyond_kafkas_end_is_told_that_the_log_was_truncated() -> None:
    place = Place(LIFE, {0: 12, 1: 25})
    assert resume(place, log(), {0: 11, 1: 25}) == Resumption("truncated", {})
    assert resume(place, log(), {0: 12, 1: 24}) == Resumption("truncated", {})
    assert resume(place, log(), {}) == Resumption("truncated", {})


def test_of_a_partition_that_this_instance_does_not_know_one_record_counts() -> None:
    place = Place(LIFE, {0: 10, 1: 20, 2: 1})
    assert resume(place, log(), {2: 1}) == Resumption(None, {2: 1})
    assert resume(place, log(), {}) == Resumption("truncated", {})
    assert ahead({"orders": place}, {"orders": log()}) == [("orders", 2)]


@pytest.mark.parametrize("offset", [0, 10, 999])
def test_one_of_a_topic_that_was_created_again_is_told_so(offset: int) -> None:
    assert resume(Place(OTHER_LIFE, {0: offset}), log(), {}) == Resumption("recreated", {})


@pytest.mark.parametrize(
    "offsets",
    [
        {0: 9, 1: 20},
        {0: 10},
        {},
        {0: 99, 1: 19},
    ],
)
def test_what_was_missed_is_never_passed_over_in_silence(offsets: dict[int, int]) -> None:
    assert resume(Place(LIFE, offsets), log(), {0: 99}).gap == "limit"


def test_a_partition_that_the_cursor_does_not_name_is_owed_from_its_beginning() -> None:
    young = Log("orders")
    young.begin(LIFE, {0: 10, 1: 1})
    assert resume(Place(LIFE, {0: 10}), young, {}).gap == "limit"


def test_an_identity_that_nobody_knew_is_no_other_life() -> None:
    # One that had no partitions yet is named without; a broker may tell none.
    place = {0: 10, 1: 20}
    assert resume(Place(b"", place), log(), {}).gap is None
    assert resume(Place(LIFE, place), log(b""), {}).gap is None


def test_a_partition_that_neither_has_read_is_no_loss() -> None:
    empty = Log("orders")
    empty.begin(LIFE, {0: 0})
    assert resume(Place(b"", {}), empty, {}) == Resumption(None, {})
    assert resume(Place(LIFE, {0: 0, 1: 0}), empty, {}) == Resumption(None, {})


# -- what has to be asked of Kafka -----------------------------------------------------------------


def test_only_what_is_ahead_of_this_instance_is_asked_of_kafka() -> None:
    cursor = {"orders": Place(LIFE, {0: 10, 1: 21, 2: 1, 3: 0})}
    assert ahead(cursor, {"orders": log()}) == [("orders", 1), ("orders", 2)]


def test_nothing_is_asked_of_kafka_for_another_life_or_an_unknown_topic() -> None:
    cursor = {"orders": Place(OTHER_LIFE, {0: 99}), "gone": Place(LIFE, {0: 99})}
    assert ahead(cursor, {"orders": log()}) == []


def test_what_was_asked_is_what_resume_needs() -> None:
    place = Place(LIFE, {0: 12, 1: 19, 2: 1})
    asked = [partition for _, partition in ahead({"orders": place}, {"orders": log()})]
    assert resume(place, log(), dict.fromkeys(asked, 99)).gap != "truncated"
