"""One topic as this instance has read it; its part of every cursor."""

from __future__ import annotations

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, join_topic_offsets
from bridge.core.sessions.positions import TopicPosition
from tests.core.factories import CURSOR_TIME, OTHER_TOPIC_ID, TOPIC_ID


def told(log: TopicPosition) -> TopicOffsets:
    return decode_cursor(join_topic_offsets([log.packed_offsets], CURSOR_TIME))["orders"]


def test_a_topic_that_has_no_partitions_yet_is_named() -> None:
    assert told(TopicPosition("orders")) == TopicOffsets(b"", {})


def test_a_cursor_says_the_next_offset_of_each_partition_at_once() -> None:
    log = TopicPosition("orders")
    log.reset(TOPIC_ID, {0: 5, 1: 0})
    assert told(log) == TopicOffsets(TOPIC_ID, {0: 5, 1: 0})
    log.set_next_offset(1, 7)
    assert told(log) == TopicOffsets(TOPIC_ID, {0: 5, 1: 7})
    log.set_next_offset(2, 1)
    assert told(log) == TopicOffsets(TOPIC_ID, {0: 5, 1: 7, 2: 1})


def test_a_topic_that_begins_anew_forgets_what_was_before() -> None:
    log = TopicPosition("orders", is_private=True)
    log.reset(TOPIC_ID, {0: 5, 1: 9})
    assert told(log) == TopicOffsets(TOPIC_ID, {0: 5, 1: 9})
    log.reset(OTHER_TOPIC_ID, {0: 0})
    assert told(log) == TopicOffsets(OTHER_TOPIC_ID, {0: 0})
    assert log.is_private


def test_the_offsets_it_was_given_stay_the_givers() -> None:
    log, given = TopicPosition("orders"), {0: 5}
    log.reset(TOPIC_ID, given)
    log.set_next_offset(0, 6)
    given[1] = 1
    assert log.next_offsets == {0: 6}


def test_what_a_cursor_needs_is_made_once_between_two_moves() -> None:
    log = TopicPosition("orders")
    log.reset(TOPIC_ID, {0: 5})
    assert log.packed_offsets is log.packed_offsets


def test_a_topic_that_sleeps_has_no_places_until_it_is_begun_anew() -> None:
    log = TopicPosition("orders")
    assert not log.is_idle
    log.reset(TOPIC_ID, {0: 5, 1: 9})
    log.deactivate(OTHER_TOPIC_ID)
    assert (log.is_idle, log.next_offsets, log.topic_id) == (True, {}, OTHER_TOPIC_ID)
    log.reset(TOPIC_ID, {0: 7})
    assert (log.is_idle, told(log)) == (False, TopicOffsets(TOPIC_ID, {0: 7}))
