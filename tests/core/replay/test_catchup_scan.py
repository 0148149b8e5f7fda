"""A pass over Kafka's records serves all who need them, each from its own place on, once."""

from __future__ import annotations

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import Place, read_cursor
from bridge.core.sessions.session import Need
from tests.core.given import (
    LIFE,
    ats,
    attached,
    broadcasts,
    catch_up,
    event,
    frames,
    hub,
    offsets,
    publish,
    read,
    returned,
    scan_for,
    session,
    standing,
    stands,
    told,
)

BOTH = ["news", "orders"]

# -- who gets what ---------------------------------------------------------------------------------


def test_each_gets_what_is_for_it_from_its_own_place_on() -> None:
    at = hub()
    to = catch_up(at)
    first, second = returned(to, standing(3, 20)), returned(to, standing(5, 20), "c2", "bob")
    live = attached(at, "c3")
    scan = scan_for(to, first, second)
    read(to, scan, *broadcasts(3, 4), event(5, accounts=["bob"]), *broadcasts(7), next=10)
    assert ats(first) == ["orders:0:3", "orders:0:4", "orders:0:7"]
    assert ats(second) == ["orders:0:5", "orders:0:7"]
    assert frames(live) == []
    for each, count in (first, 3), (second, 2):
        assert to.step(each) is Need.NOTHING
        (last,) = frames(each)
        assert (last["op"], last["replayed"]) == ("live", count)
    assert scan.interest.everybody == set()
    assert at.interest.everybody == {first, second, live}


def test_a_pass_starts_at_the_lowest_place_of_each_partition() -> None:
    to = catch_up(hub())
    scan = scan_for(
        to, returned(to, standing(3, 9)), returned(to, standing(5, 4)), returned(to, standing(10))
    )
    assert scan.start == scan.next == {("orders", 0): 3, ("orders", 1): 0}


def test_what_the_journal_has_is_left_to_it() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, *broadcasts(10, 11))
    it = returned(to, standing(9, 20))
    scan = scan_for(to, it)
    read(to, scan, *broadcasts(9, 10, 11))
    assert ats(it) == ["orders:0:9"]
    assert scan.next == {("orders", 0): 10}
    to.step(it)
    assert told(it) == ["orders:0:10", "orders:0:11", "live"]


def test_what_was_handed_out_before_is_passed_over() -> None:
    # One of Kafka's topics may have two names, of which one has come further than the other.
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 20))
    scan = scan_for(to, it)
    read(to, scan, *broadcasts(3, 4, 5))
    read(to, scan, *broadcasts(4, 5, 6))
    read(to, scan, *broadcasts(4))
    assert ats(it) == [f"orders:0:{offset}" for offset in (3, 4, 5, 6)]
    read(to, scan, *broadcasts(7), next=10)
    at.journal.prepend("orders", 0, scan.stretches["orders", 0])
    late = returned(to, standing(3, 20), "c2")
    assert to.step(late) is Need.NOTHING
    assert told(late) == [*(f"orders:0:{offset}" for offset in range(3, 8)), "live"]


def test_where_memory_begins_later_by_now_a_pass_goes_on() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(9, 20))
    scan = scan_for(to, it)
    read(to, scan, *broadcasts(9, 10))
    publish(at, *broadcasts(10, 11))
    at.journal.begin("orders", 0, 12)
    assert scan.next == {("orders", 0): 10}
    read(to, scan, *broadcasts(10, 11))
    assert to.step(it) is Need.NOTHING
    assert told(it) == ["orders:0:9", "orders:0:10", "orders:0:11", "live"]


def test_what_a_pass_reads_is_kept_for_those_who_come_later() -> None:
    at = hub()
    to = catch_up(at)
    scan = scan_for(to, returned(to, standing(3, 20)))
    read(to, scan, event(4, accounts=["bob"]), event(6, accounts=["ann"]), next=8)
    read(to, scan, next=10)
    at.journal.prepend("orders", 0, scan.stretches["orders", 0])
    late = returned(to, standing(4, 20), "c2", "bob")
    assert (to.missing(late), at.journal.floor("orders", 0)) == ({}, 3)
    to.step(late)
    assert told(late) == ["orders:0:4", "live"]


def test_cursors_are_those_of_the_pass_wherever_it_is_further() -> None:
    at = hub()
    to = catch_up(at)
    first, second = returned(to, standing(3, 20)), returned(to, standing(6, 12))
    scan = scan_for(to, first, second)
    read(to, scan, *broadcasts(3, 4))
    assert stands(at, first) == {"orders": {0: 5, 1: 20}}
    assert stands(at, second) == {"orders": {0: 6, 1: 12}}
    read(to, scan, next=8)
    assert stands(at, second) == {"orders": {0: 8, 1: 12}}
    to.leave(first)
    read(to, scan, next=9)
    assert stands(at, first) == {"orders": {0: 8, 1: 20}}
    at.hang_up(second, close_codes.DRAINING)
    *_, closing = frames(second)
    assert offsets(read_cursor(closing["cursor"])) == {"orders": {0: 9, 1: 12}}
    assert scan.interest.everybody == set()


def test_one_whose_client_has_to_read_first_leaves_with_its_place_and_delays_nobody() -> None:
    at = hub()
    to = catch_up(at, ceiling=1000)
    slow, quick = returned(to, standing(3, 20)), returned(to, standing(3, 20), "c2")
    scan = scan_for(to, slow, quick)
    seen = []
    for offset in range(3, 10):
        full = read(to, scan, *broadcasts(offset))
        seen += ats(quick)
        if full:
            assert full == [slow]
            assert stands(at, slow)["orders"][0] == offset
    assert seen == [f"orders:0:{offset}" for offset in range(3, 10)]
    before = ats(slow)
    assert scan.interest.everybody == {quick}
    again = scan_for(to, slow)
    read(to, again, *broadcasts(*range(3, 10)))
    assert before + ats(slow) == seen


def test_one_that_has_to_read_first_in_the_middle_of_a_portion_stands_there() -> None:
    at = hub()
    to = catch_up(at, ceiling=500)
    slow, quick = returned(to, standing(3, 20)), returned(to, standing(3, 20), "c2", "bob")
    scan = scan_for(to, slow, quick)
    portion = [event(n, accounts=["bob" if n in {4, 6} else "ann"]) for n in range(3, 9)]
    assert read(to, scan, *portion) == [slow]
    assert (ats(slow), stands(at, slow)["orders"]) == (["orders:0:3", "orders:0:5"], {0: 7, 1: 20})
    assert ats(quick) == ["orders:0:4", "orders:0:6"]
    assert stands(at, quick)["orders"] == {0: 9, 1: 20}


# -- entering --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "fits"), [(4, False), (5, True), (6, True), (10, True)])
def test_one_can_enter_as_long_as_nothing_that_it_needs_was_passed(place: int, fits: bool) -> None:
    to = catch_up(hub())
    scan = scan_for(to, returned(to, standing(3, 20)))
    read(to, scan, *broadcasts(3, 4))
    it = returned(to, standing(place, 20), "c2")
    assert to.fits(scan, it) == fits


def test_one_that_needs_what_is_not_read_does_not_fit() -> None:
    to = catch_up(hub())
    scan = scan_for(to, returned(to, standing(3, 20)))
    assert not to.fits(scan, returned(to, standing(3, 19), "c2"))
    assert not to.fits(scan, session())


def test_one_to_whom_a_pass_would_seem_to_have_given_what_is_in_memory_does_not_fit() -> None:
    at = hub()
    to = catch_up(at)
    scan = scan_for(to, returned(to, standing(3, 12)))
    read(to, scan, *broadcasts(3, 6), next=8)
    other = scan_for(to, returned(to, standing(3, 20), "c2"))
    read(to, other, *broadcasts(3, 6), next=10)
    at.journal.prepend("orders", 0, other.stretches["orders", 0])
    late = returned(to, standing(5, 15), "c3")  # what it needs of the first partition is there now
    assert to.missing(late) == {("orders", 1): (15, 20)}
    assert not to.fits(scan, late)


def test_one_that_follows_another_topic_is_not_held_up_by_what_was_passed() -> None:
    to = catch_up(hub())
    scan = scan_for(
        to,
        returned(to, standing(3, 20)),
        returned(to, {"news": Place(LIFE, {0: 3, 1: 20})}, topics=["news"]),
    )
    read(to, scan, *broadcasts(3), next=10)
    late = returned(to, {"news": Place(LIFE, {0: 3, 1: 20})}, "c3", topics=["news"])
    assert to.fits(scan, late)


def test_one_whose_cursor_does_not_name_all_its_topics_is_told_one_that_does() -> None:
    at = hub()
    to = catch_up(at)
    named = returned(to, {**standing(3, 20), "news": Place(LIFE, {0: 3, 1: 20})}, topics=BOTH)
    it, other = (
        returned(to, standing(3, 20), topics=BOTH),
        returned(to, standing(3, 20), topics=BOTH),
    )
    scan_for(to, other)
    assert frames(other) == []
    scan_for(to, named, it)
    assert frames(named) == []
    (beat,) = frames(it)
    assert offsets(read_cursor(beat["cursor"])).keys() == {"orders", "news"}


# -- what a session does meanwhile -----------------------------------------------------------------


def test_rooms_and_topics_count_from_the_moment_on() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 20), rooms=["r"])
    scan = scan_for(to, it)
    in_rooms = [event(n, rooms=["r" if n % 2 else "s"]) for n in range(3, 9)]
    read(to, scan, *in_rooms[:2])
    at.unfollow(it, [], ["r"])
    at.follow(it, [], ["s"])
    read(to, scan, *in_rooms[2:4])
    at.unfollow(it, ["orders"], [])
    read(to, scan, *in_rooms[4:])
    assert ats(it) == ["orders:0:3", "orders:0:6"]
    at.follow(it, ["orders"], [])
    read(to, scan, event(9, rooms=["s"]))
    publish(at, event(10, rooms=["s"]))
    to.step(it)
    assert told(it) == ["orders:0:10", "live"]


def test_one_that_is_gone_is_served_no_more() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 20))
    scan = scan_for(to, it)
    at.detach(it)
    assert scan.interest.everybody == set()
    assert read(to, scan, *broadcasts(3)) == []
    assert it.outbox.pending == 0
