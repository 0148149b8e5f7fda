"""Contract 3.3: what a client is told whose topic is not what it was: created again, or cut off."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import Place, read_cursor, write_cursor
from bridge.core.sessions.session import Need
from tests.core.given import (
    LIFE,
    OTHER_LIFE,
    catch_up,
    event,
    frames,
    gaps,
    hub,
    kafka_says,
    publish,
    returned,
    standing,
    stands,
)

# -- another life of the topic ---------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 10, 999])
def test_a_topic_that_was_created_again_is_a_gap_and_comes_from_its_beginning(offset: int) -> None:
    at = hub()
    at.begin("orders", OTHER_LIFE, {0: 0})
    to = catch_up(at)
    publish(at, event(0, all=True))
    it = returned(to, standing(offset))
    assert to.step(it) is Need.NOTHING
    gap, first, live = frames(it)
    assert gap["cursor"] == write_cursor({"orders": Place(OTHER_LIFE, {})})
    assert (gap["topic"], gap["reason"], first["at"]) == ("orders", "recreated", "orders:0:0")
    assert read_cursor(live["cursor"]) == {"orders": Place(OTHER_LIFE, {0: 1})}


def test_where_the_log_of_the_new_one_has_lost_its_beginning_nothing_more_is_told() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 20, identity=OTHER_LIFE))
    assert to.step(it) is Need.KAFKA
    assert [reason for _, reason, _ in gaps(it)] == ["recreated"]
    assert to.judge(it, kafka_says(start={0: 4}, aged={0: 4, 1: 20}))
    assert gaps(it) == []
    assert stands(at, it) == {"orders": {0: 4, 1: 20}}


@pytest.mark.parametrize(("client", "instance"), [(b"", LIFE), (LIFE, b""), (b"", b"")])
def test_an_identity_that_nobody_knew_is_no_other_life(client: bytes, instance: bytes) -> None:
    at = hub()
    at.logs["orders"].begin(instance, {0: 10, 1: 20})
    to = catch_up(at)
    it = returned(to, standing(10, 20, identity=client))
    assert to.step(it) is Need.NOTHING
    assert [each["op"] for each in frames(it)] == ["live"]


@pytest.mark.parametrize("known", [True, False])
def test_one_that_is_created_again_during_a_replay_is_told_at_once(known: bool) -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(10, 20, identity=LIFE if known else b""))
    publish(at, event(10, all=True))
    at.begin("orders", OTHER_LIFE, {0: 0})
    assert gaps(it) == [("orders", "recreated", {"orders": Place(OTHER_LIFE, {})})]
    publish(at, event(0, all=True))
    assert to.step(it) is Need.NOTHING
    assert [each["op"] for each in frames(it)] == ["event", "live"]


def test_one_that_knew_of_the_new_life_before_this_instance_is_told_nothing() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, {"orders": Place(OTHER_LIFE, {0: 1})})
    at.begin("orders", OTHER_LIFE, {0: 0})
    publish(at, event(0, all=True), event(1, all=True))
    assert to.judge(it, kafka_says(OTHER_LIFE))
    assert to.step(it) is Need.NOTHING
    assert frames(it)[0]["at"] == "orders:0:1"


# -- while it is caught up -------------------------------------------------------------------------


@pytest.mark.parametrize("place", [19, 20])
def test_a_log_that_is_cut_off_below_its_place_is_a_gap_at_once(place: int) -> None:
    at = hub()
    to = catch_up(at)
    publish(at, next=20)
    it = returned(to, standing(place, 20))
    at.skip("orders", "truncated", {0: 18})
    assert gaps(it) == [("orders", "truncated", standing(18, 20))]
    publish(at, *(event(offset, all=True) for offset in (18, 19, 20)))
    assert to.step(it) is Need.NOTHING
    assert [each["op"] for each in frames(it)] == [*["event"] * 3, "live"]


@pytest.mark.parametrize(("place", "need"), [(18, Need.NOTHING), (17, Need.KAFKA)])
def test_one_that_is_cut_off_above_its_place_is_none(place: int, need: Need) -> None:
    at = hub()
    to = catch_up(at)
    publish(at, next=20)
    it = returned(to, standing(place, 20))
    at.skip("orders", "truncated", {0: 18})
    assert (frames(it), to.step(it)) == ([], need)


def test_what_the_instance_could_not_read_is_for_kafka_to_judge() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(10, 20))
    at.skip("orders", "expired", {0: 15})
    assert (frames(it), to.step(it)) == ([], Need.KAFKA)
    assert to.missing(it) == {("orders", 0): (10, 15)}
    assert to.judge(it, kafka_says(start={0: 15}))
    assert gaps(it) == [("orders", "expired", standing(15, 20))]
