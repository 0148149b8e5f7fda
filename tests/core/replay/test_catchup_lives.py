"""Contract 3.3: what a client is told whose topic is not what it was: created again, or cut off."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.core.replay.catchup import NextStep
from tests.core.factories import (
    CURSOR_TIME,
    OTHER_TOPIC_ID,
    TOPIC_ID,
    catch_up,
    cursor_at,
    cursor_offsets,
    event,
    hub,
    log_bounds,
    publish,
    resumed_session,
    take_frames,
    take_gaps,
)

# -- another life of the topic ---------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 10, 999])
def test_a_topic_that_was_created_again_is_a_gap_and_comes_from_its_beginning(offset: int) -> None:
    at = hub()
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    to = catch_up(at)
    publish(at, event(0, all=True))
    it = resumed_session(to, cursor_at(offset))
    assert to.advance(it) is NextStep.DONE
    gap, first, live = take_frames(it)
    assert gap["cursor"] == encode_cursor({"orders": TopicOffsets(OTHER_TOPIC_ID, {})}, CURSOR_TIME)
    assert (gap["topic"], gap["reason"], first["at"]) == ("orders", "recreated", "orders:0:0")
    assert decode_cursor(live["cursor"]) == {"orders": TopicOffsets(OTHER_TOPIC_ID, {0: 1})}


def test_where_the_log_of_the_new_one_has_lost_its_beginning_nothing_more_is_told() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 20, identity=OTHER_TOPIC_ID))
    assert to.advance(it) is NextStep.READ_KAFKA
    assert [reason for _, reason, _ in take_gaps(it)] == ["recreated"]
    assert to.check_bounds(it, log_bounds(start={0: 4}, aged={0: 4, 1: 20}))
    assert take_gaps(it) == []
    assert cursor_offsets(at, it) == {"orders": {0: 4, 1: 20}}


@pytest.mark.parametrize(("client", "instance"), [(b"", TOPIC_ID), (TOPIC_ID, b""), (b"", b"")])
def test_an_identity_that_nobody_knew_is_no_other_life(client: bytes, instance: bytes) -> None:
    at = hub()
    at.topic_positions["orders"].reset(instance, {0: 10, 1: 20})
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20, identity=client))
    assert to.advance(it) is NextStep.DONE
    assert [each["op"] for each in take_frames(it)] == ["live"]


@pytest.mark.parametrize("known", [True, False])
def test_one_that_is_created_again_during_a_replay_is_told_at_once(known: bool) -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20, identity=TOPIC_ID if known else b""))
    publish(at, event(10, all=True))
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    assert take_gaps(it) == [("orders", "recreated", {"orders": TopicOffsets(OTHER_TOPIC_ID, {})})]
    publish(at, event(0, all=True))
    assert to.advance(it) is NextStep.DONE
    assert [each["op"] for each in take_frames(it)] == ["event", "live"]


def test_one_that_knew_of_the_new_life_before_this_instance_is_told_nothing() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, {"orders": TopicOffsets(OTHER_TOPIC_ID, {0: 1})})
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    publish(at, event(0, all=True), event(1, all=True))
    assert to.check_bounds(it, log_bounds(OTHER_TOPIC_ID))
    assert to.advance(it) is NextStep.DONE
    assert take_frames(it)[0]["at"] == "orders:0:1"


# -- while it is caught up -------------------------------------------------------------------------


@pytest.mark.parametrize("place", [19, 20])
def test_a_log_that_is_cut_off_below_its_place_is_a_gap_at_once(place: int) -> None:
    at = hub()
    to = catch_up(at)
    publish(at, next_offset=20)
    it = resumed_session(to, cursor_at(place, 20))
    at.skip_unreadable("orders", "truncated", {0: 18})
    assert take_gaps(it) == [("orders", "truncated", cursor_at(18, 20))]
    publish(at, *(event(offset, all=True) for offset in (18, 19, 20)))
    assert to.advance(it) is NextStep.DONE
    assert [each["op"] for each in take_frames(it)] == [*["event"] * 3, "live"]


@pytest.mark.parametrize(("place", "need"), [(18, NextStep.DONE), (17, NextStep.READ_KAFKA)])
def test_one_that_is_cut_off_above_its_place_is_none(place: int, need: NextStep) -> None:
    at = hub()
    to = catch_up(at)
    publish(at, next_offset=20)
    it = resumed_session(to, cursor_at(place, 20))
    at.skip_unreadable("orders", "truncated", {0: 18})
    assert (take_frames(it), to.advance(it)) == ([], need)


def test_what_the_instance_could_not_read_is_for_kafka_to_judge() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20))
    at.skip_unreadable("orders", "expired", {0: 15})
    assert (take_frames(it), to.advance(it)) == ([], NextStep.READ_KAFKA)
    assert to.missing_ranges(it) == {("orders", 0): (10, 15)}
    assert to.check_bounds(it, log_bounds(start={0: 15}))
    assert take_gaps(it) == [("orders", "expired", cursor_at(15, 20))]
