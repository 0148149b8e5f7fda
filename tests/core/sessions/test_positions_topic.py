"""One topic as this instance has read it; its part of every cursor."""

from __future__ import annotations

from bridge.core.protocol.cursor import Place, join_places, read_cursor
from bridge.core.sessions.positions import Log
from tests.core.given import LIFE, OTHER_LIFE


def told(log: Log) -> Place:
    return read_cursor(join_places([log.packed]))["orders"]


def test_a_topic_that_has_no_partitions_yet_is_named() -> None:
    assert told(Log("orders")) == Place(b"", {})


def test_a_cursor_says_the_next_offset_of_each_partition_at_once() -> None:
    log = Log("orders")
    log.begin(LIFE, {0: 5, 1: 0})
    assert told(log) == Place(LIFE, {0: 5, 1: 0})
    log.move(1, 7)
    assert told(log) == Place(LIFE, {0: 5, 1: 7})
    log.move(2, 1)
    assert told(log) == Place(LIFE, {0: 5, 1: 7, 2: 1})


def test_a_topic_that_begins_anew_forgets_what_was_before() -> None:
    log = Log("orders", private=True)
    log.begin(LIFE, {0: 5, 1: 9})
    assert told(log) == Place(LIFE, {0: 5, 1: 9})
    log.begin(OTHER_LIFE, {0: 0})
    assert told(log) == Place(OTHER_LIFE, {0: 0})
    assert log.private


def test_the_offsets_it_was_given_stay_the_givers() -> None:
    log, given = Log("orders"), {0: 5}
    log.begin(LIFE, given)
    log.move(0, 6)
    given[1] = 1
    assert log.next == {0: 6}


def test_what_a_cursor_needs_is_made_once_between_two_moves() -> None:
    log = Log("orders")
    log.begin(LIFE, {0: 5})
    assert log.packed is log.packed


def test_a_topic_that_sleeps_has_no_places_until_it_is_begun_anew() -> None:
    log = Log("orders")
    assert not log.asleep
    log.begin(LIFE, {0: 5, 1: 9})
    log.sleep(OTHER_LIFE)
    assert (log.asleep, log.next, log.identity) == (True, {}, OTHER_LIFE)
    log.begin(LIFE, {0: 7})
    assert (log.asleep, told(log)) == (False, Place(LIFE, {0: 7}))
