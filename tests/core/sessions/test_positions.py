"""Whose cursor covers what: the instance's own reading, a client's own places, a pass's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor
from bridge.core.sessions.positions import (
    TopicPosition,
    prune_min_offsets,
    replay_offsets,
    reposition_replaying,
    session_cursor,
)
from bridge.core.sessions.session import ReplayState, ScanRange
from tests.core.factories import CURSOR_TIME, OTHER_TOPIC_ID, TOPIC_ID, session

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session


def logs() -> dict[str, TopicPosition]:
    made = {"news": TopicPosition("news"), "orders": TopicPosition("orders")}
    for each in made.values():
        each.reset(TOPIC_ID, {0: 10, 1: 20})
    return made


def at(of: Session, where: dict[str, TopicPosition] | None = None) -> Cursor:
    return decode_cursor(session_cursor(of, logs() if where is None else where, CURSOR_TIME))


def replaying(identity: bytes = TOPIC_ID, **floors: int) -> Session:
    it = session(topics=["news", "orders"])
    own = {int(name.removeprefix("p")): offset for name, offset in floors.items()}
    it.min_offsets = {"news": {0: 10, 1: 20}, "orders": own}
    it.replay = ReplayState({"news": TOPIC_ID, "orders": identity}, {})
    return it


# -- live ------------------------------------------------------------------------------------------


def test_one_that_is_live_stands_where_the_instance_does() -> None:
    it = session(topics=["news", "orders"])
    assert at(it) == dict.fromkeys(["news", "orders"], TopicOffsets(TOPIC_ID, {0: 10, 1: 20}))
    assert at(session(topics=[])) == {}


@pytest.mark.parametrize(
    ("floors", "offsets", "left"),
    [
        ({0: 11}, {0: 11, 1: 20}, {0: 11}),
        ({0: 10, 1: 21}, {0: 10, 1: 21}, {1: 21}),
        ({0: 10, 1: 20}, {0: 10, 1: 20}, None),
        ({0: 3, 2: 1}, {0: 10, 1: 20, 2: 1}, {2: 1}),
        ({2: 0}, {0: 10, 1: 20}, None),
    ],
)
def test_one_that_is_ahead_stands_where_it_said_until_that_is_read_past(
    floors: dict[int, int], offsets: dict[int, int], left: dict[int, int] | None
) -> None:
    it = session()
    it.min_offsets = {"orders": floors}
    assert at(it) == {"orders": TopicOffsets(TOPIC_ID, offsets)}
    assert it.min_offsets == (None if left is None else {"orders": left})


def test_places_in_a_topic_that_is_not_followed_any_more_are_forgotten() -> None:
    it = session()
    it.min_offsets = {"news": {0: 99}, "orders": {0: 99}}
    prune_min_offsets(it, logs())
    assert it.min_offsets == {"orders": {0: 99}}


# -- in the middle of a replay ---------------------------------------------------------------------


def test_one_that_replays_stands_at_its_own_places_in_the_life_that_they_are_in() -> None:
    assert at(replaying(p0=3, p1=99))["orders"] == TopicOffsets(TOPIC_ID, {0: 3, 1: 99})
    assert at(replaying(OTHER_TOPIC_ID, p0=3))["orders"] == TopicOffsets(OTHER_TOPIC_ID, {0: 3})
    assert at(replaying(b"", p0=3))["orders"] == TopicOffsets(TOPIC_ID, {0: 3})


def test_one_that_a_pass_serves_stands_at_the_higher_of_both() -> None:
    it = replaying(p0=3, p1=9)
    assert it.replay is not None
    it.replay.join_scan(
        ScanRange({("orders", 0): 5, ("orders", 1): 7, ("orders", 2): 4, ("gone", 0): 9})
    )
    assert replay_offsets(it, "orders") == {0: 5, 1: 9, 2: 4}
    assert replay_offsets(it, "news") == {0: 10, 1: 20}
    assert at(it)["orders"] == TopicOffsets(TOPIC_ID, {0: 5, 1: 9, 2: 4})
    assert it.min_offsets is not None
    assert it.min_offsets["orders"] == {0: 3, 1: 9}


def test_a_cursor_in_the_middle_forgets_no_place_that_was_read_past() -> None:
    it = replaying(p0=3, p1=20)
    session_cursor(it, logs(), CURSOR_TIME)
    assert it.min_offsets == {"news": {0: 10, 1: 20}, "orders": {0: 3, 1: 20}}


# -- a topic that is not what it was ---------------------------------------------------------------


def anew() -> TopicPosition:
    log = TopicPosition("orders")
    log.reset(OTHER_TOPIC_ID, {0: 0})
    return log


def test_of_those_who_replay_a_topic_that_was_created_again_each_begins_at_its_beginning() -> None:
    it, knew, other = replaying(p0=3), replaying(OTHER_TOPIC_ID, p0=3), session(topics=["news"])
    other.replay, other.min_offsets = ReplayState({"news": TOPIC_ID}, {}), {"news": {0: 1}}
    assert reposition_replaying([it, knew, other, session()], anew()) == [it]
    assert it.min_offsets == {"news": {0: 10, 1: 20}, "orders": {}}
    assert it.replay is not None
    assert it.replay.topic_ids == {"news": TOPIC_ID, "orders": OTHER_TOPIC_ID}
    assert knew.min_offsets is not None
    assert knew.min_offsets["orders"] == {0: 3}


@pytest.mark.parametrize(
    ("place", "reach", "cut"), [(5, 3, False), (3, 5, False), (6, 3, True), (3, 6, True)]
)
def test_of_those_who_replay_a_log_that_was_cut_off_the_ones_beyond_go_on_from_now(
    place: int, reach: int, cut: bool
) -> None:
    it = replaying(p0=place, p1=20)
    assert it.replay is not None
    it.replay.join_scan(ScanRange({("orders", 0): reach, ("orders", 1): 9, ("news", 0): 9}))
    it.replay.is_admitted = True
    where = logs()["orders"]
    where.set_next_offset(0, 5)
    assert reposition_replaying([it], where, {0: 5}) == [it] * cut
    assert replay_offsets(it, "orders") == {0: 5, 1: 20}
    assert it.replay.is_admitted == (not cut)
    assert (
        ("orders", 0) in it.replay.scan_range.next_offsets if it.replay.scan_range else None
    ) == (reach < 6)


def test_of_those_whom_one_pass_serves_all_are_judged_by_its_place() -> None:
    first, second = replaying(p0=3), replaying(p0=3)
    reach = ScanRange({("orders", 0): 6})
    for each in (first, second):
        assert each.replay is not None
        each.replay.join_scan(reach)
    assert reposition_replaying([first, second], logs()["orders"], {0: 5}) == [first, second]
