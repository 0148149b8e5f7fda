"""What a pass over Kafka's records can not or may not read, and who is told of it."""

from __future__ import annotations

from bridge.core.protocol.cursor import Place
from tests.core.given import (
    LIFE,
    OTHER_LIFE,
    broadcasts,
    catch_up,
    hub,
    kafka_says,
    publish,
    read,
    returned,
    scan_for,
    standing,
    stands,
    told,
)

# -- what a pass can not read ----------------------------------------------------------------------


def test_those_who_have_come_to_what_can_not_be_read_are_told_and_the_others_go_on() -> None:
    at = hub()
    to = catch_up(at)
    stuck, beyond = returned(to, standing(3, 20)), returned(to, standing(8, 20), "c2")
    elsewhere = returned(to, {"news": Place(LIFE, {0: 3, 1: 20})}, "c3", topics=["news"])
    scan = scan_for(to, stuck, beyond, elsewhere)
    read(to, scan, *broadcasts(3, 4), next=6)
    assert set(to.give_up(scan, "orders", 0, "corrupt")) == {stuck, beyond}
    assert told(stuck) == ["orders:0:3", "orders:0:4", "corrupt"]
    assert stands(at, stuck) == {"orders": {0: 10, 1: 20}}
    assert (told(beyond), to.missing(beyond)) == ([], {("orders", 0): (8, 10)})
    assert scan.interest.everybody == {elsewhere}
    assert not to.fits(scan, beyond)
    assert to.give_up(scan, "orders", 0, "corrupt") == []
    assert to.give_up(scan, "orders", 1, "corrupt") == []


def test_those_whose_place_is_not_in_the_log_any_more_are_judged_anew() -> None:
    at = hub()
    to = catch_up(at)
    gone, there = returned(to, standing(3, 20)), returned(to, standing(8, 20), "c2")
    for each in (gone, there):
        to.judge(each, kafka_says())
    scan = scan_for(to, gone, there)
    assert set(to.give_up(scan, "orders", 0, None)) == {gone, there}
    assert [each.replay.judged for each in (gone, there) if each.replay] == [False, True]
    assert to.judge(gone, kafka_says(start={0: 5}))
    assert told(gone) == ["expired"]


def test_one_that_is_created_again_under_way_is_told_and_read_no_further() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(
        to, {**standing(3, 20), "news": Place(LIFE, {0: 3, 1: 20})}, topics=["news", "orders"]
    )
    scan = scan_for(to, it)
    read(to, scan, *broadcasts(3, 4))
    at.begin("orders", OTHER_LIFE, {0: 0})
    assert told(it) == ["orders:0:3", "orders:0:4", "recreated"]
    assert set(scan.next) == {("news", 0)}
    assert stands(at, it) == {"orders": {}, "news": {0: 3, 1: 20}}
    assert to.give_up(scan, "orders", 0, "corrupt") == []
    read(to, scan, *broadcasts(3), topic="news", next=10)
    publish(at, *broadcasts(0))
    to.step(it)
    assert told(it) == ["news:0:3", "orders:0:0", "live"]


def test_one_that_is_cut_off_under_way_is_told_and_read_no_further() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 12))
    scan = scan_for(to, it)
    read(to, scan, *broadcasts(3, 4), next=8)
    at.skip("orders", "truncated", {0: 6})
    assert told(it) == ["orders:0:3", "orders:0:4", "truncated"]
    assert stands(at, it) == {"orders": {0: 6, 1: 20}}
    assert set(scan.next) == {("orders", 1)}


# -- limits ----------------------------------------------------------------------------------------


def test_those_for_whom_as_much_was_read_as_may_be_are_told() -> None:
    at = hub()
    to = catch_up(at, bytes=100)
    first = returned(to, standing(3, 20))
    scan = scan_for(to, first)
    scan.bytes["orders"] += 60
    late = returned(to, standing(3, 20), "c2")
    to.enter(scan, late)
    scan.bytes["orders"] += 40
    assert to.spent(scan) == []
    scan.bytes["orders"] += 1
    assert to.spent(scan) == [first]
    read(to, scan, *broadcasts(3))
    to.limit(first)
    assert told(first) == ["orders:0:3", "limit"]
    assert stands(at, first) == {"orders": {0: 10, 1: 20}}
    assert scan.interest.everybody == {late}
    to.leave(late)
    again = scan_for(to, late)
    again.bytes["orders"] += 60
    assert to.spent(again) == [late]


def test_what_others_need_costs_nobody() -> None:
    to = catch_up(hub(), bytes=100, records=10)
    it = returned(to, standing(3, 20))
    other = returned(to, {"news": Place(LIFE, {0: 3, 1: 20})}, "c2", topics=["news"])
    scan = scan_for(to, it, other)
    scan.bytes.update(orders=90, news=90)
    assert to.spent(scan) == []
    read(to, scan, next=10)
    read(to, scan, topic="news", next=9)
    to.leave(it)
    assert it.replay is not None
    assert (it.replay.records, it.replay.bytes) == (7, 90)


def test_a_topic_that_is_followed_later_has_cost_nothing_before() -> None:
    at = hub()
    to = catch_up(at, bytes=100)
    it, other = (
        returned(to, standing(3, 20)),
        returned(to, {"news": Place(LIFE, {0: 3})}, "c2", topics=["news"]),
    )
    scan = scan_for(to, other)
    scan.bytes["news"] += 90
    to.enter(scan, it)
    at.follow(it, ["news"], [])
    scan.bytes["news"] += 20
    assert to.spent(scan) == [other]
