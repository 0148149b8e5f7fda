"""A pass over Kafka's records serves all who need them, each from its own place on, once."""

from __future__ import annotations

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import TopicOffsets, decode_cursor
from bridge.core.replay.catchup import NextStep
from tests.core.factories import (
    TOPIC_ID,
    attached_session,
    broadcasts,
    catch_up,
    cursor_at,
    cursor_offsets,
    deliver_scan,
    event,
    hub,
    new_scan,
    offsets_by_topic,
    publish,
    resumed_session,
    session,
    take_frames,
    take_positions,
    take_summary,
)

BOTH = ["news", "orders"]

# -- who gets what ---------------------------------------------------------------------------------


def test_each_gets_what_is_for_it_from_its_own_place_on() -> None:
    at = hub()
    to = catch_up(at)
    first, second = (
        resumed_session(to, cursor_at(3, 20)),
        resumed_session(to, cursor_at(5, 20), "c2", "bob"),
    )
    live = attached_session(at, "c3")
    scan = new_scan(to, first, second)
    deliver_scan(
        to, scan, *broadcasts(3, 4), event(5, accounts=["bob"]), *broadcasts(7), next_offset=10
    )
    assert take_positions(first) == ["orders:0:3", "orders:0:4", "orders:0:7"]
    assert take_positions(second) == ["orders:0:5", "orders:0:7"]
    assert take_frames(live) == []
    for each, count in (first, 3), (second, 2):
        assert to.advance(each) is NextStep.DONE
        (last,) = take_frames(each)
        assert (last["op"], last["replayed"]) == ("live", count)
    assert scan.subscriptions.all_sessions == set()
    assert at.subscriptions.all_sessions == {first, second, live}


def test_a_pass_starts_at_the_lowest_place_of_each_partition() -> None:
    to = catch_up(hub())
    scan = new_scan(
        to,
        resumed_session(to, cursor_at(3, 9)),
        resumed_session(to, cursor_at(5, 4)),
        resumed_session(to, cursor_at(10)),
    )
    assert scan.start_offsets == scan.next_offsets == {("orders", 0): 3, ("orders", 1): 0}


def test_what_the_journal_has_is_left_to_it() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, *broadcasts(10, 11))
    it = resumed_session(to, cursor_at(9, 20))
    scan = new_scan(to, it)
    deliver_scan(to, scan, *broadcasts(9, 10, 11))
    assert take_positions(it) == ["orders:0:9"]
    assert scan.next_offsets == {("orders", 0): 10}
    to.advance(it)
    assert take_summary(it) == ["orders:0:10", "orders:0:11", "live"]


def test_what_was_handed_out_before_is_passed_over() -> None:
    # One of Kafka's topics may have two names, of which one has come further than the other.
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 20))
    scan = new_scan(to, it)
    deliver_scan(to, scan, *broadcasts(3, 4, 5))
    deliver_scan(to, scan, *broadcasts(4, 5, 6))
    deliver_scan(to, scan, *broadcasts(4))
    assert take_positions(it) == [f"orders:0:{offset}" for offset in (3, 4, 5, 6)]
    deliver_scan(to, scan, *broadcasts(7), next_offset=10)
    at.journal.prepend_backfill("orders", 0, scan.backfills["orders", 0])
    late = resumed_session(to, cursor_at(3, 20), "c2")
    assert to.advance(late) is NextStep.DONE
    assert take_summary(late) == [*(f"orders:0:{offset}" for offset in range(3, 8)), "live"]


def test_where_memory_begins_later_by_now_a_pass_goes_on() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(9, 20))
    scan = new_scan(to, it)
    deliver_scan(to, scan, *broadcasts(9, 10))
    publish(at, *broadcasts(10, 11))
    at.journal.reset_partition("orders", 0, 12)
    assert scan.next_offsets == {("orders", 0): 10}
    deliver_scan(to, scan, *broadcasts(10, 11))
    assert to.advance(it) is NextStep.DONE
    assert take_summary(it) == ["orders:0:9", "orders:0:10", "orders:0:11", "live"]


def test_what_a_pass_reads_is_kept_for_those_who_come_later() -> None:
    at = hub()
    to = catch_up(at)
    scan = new_scan(to, resumed_session(to, cursor_at(3, 20)))
    deliver_scan(to, scan, event(4, accounts=["bob"]), event(6, accounts=["ann"]), next_offset=8)
    deliver_scan(to, scan, next_offset=10)
    at.journal.prepend_backfill("orders", 0, scan.backfills["orders", 0])
    late = resumed_session(to, cursor_at(4, 20), "c2", "bob")
    assert (to.missing_ranges(late), at.journal.start_offset("orders", 0)) == ({}, 3)
    to.advance(late)
    assert take_summary(late) == ["orders:0:4", "live"]


def test_cursors_are_those_of_the_pass_wherever_it_is_further() -> None:
    at = hub()
    to = catch_up(at)
    first, second = resumed_session(to, cursor_at(3, 20)), resumed_session(to, cursor_at(6, 12))
    scan = new_scan(to, first, second)
    deliver_scan(to, scan, *broadcasts(3, 4))
    assert cursor_offsets(at, first) == {"orders": {0: 5, 1: 20}}
    assert cursor_offsets(at, second) == {"orders": {0: 6, 1: 12}}
    deliver_scan(to, scan, next_offset=8)
    assert cursor_offsets(at, second) == {"orders": {0: 8, 1: 12}}
    to.leave_scan(first)
    deliver_scan(to, scan, next_offset=9)
    assert cursor_offsets(at, first) == {"orders": {0: 8, 1: 20}}
    at.close(second, close_codes.DRAINING)
    *_, closing = take_frames(second)
    assert offsets_by_topic(decode_cursor(closing["cursor"])) == {"orders": {0: 9, 1: 12}}
    assert scan.subscriptions.all_sessions == set()


def test_one_whose_client_has_to_read_first_leaves_with_its_place_and_delays_nobody() -> None:
    at = hub()
    to = catch_up(at, ceiling=1000)
    slow, quick = resumed_session(to, cursor_at(3, 20)), resumed_session(to, cursor_at(3, 20), "c2")
    scan = new_scan(to, slow, quick)
    seen = []
    for offset in range(3, 10):
        full = deliver_scan(to, scan, *broadcasts(offset))
        seen += take_positions(quick)
        if full:
            assert full == [slow]
            assert cursor_offsets(at, slow)["orders"][0] == offset
    assert seen == [f"orders:0:{offset}" for offset in range(3, 10)]
    before = take_positions(slow)
    assert scan.subscriptions.all_sessions == {quick}
    again = new_scan(to, slow)
    deliver_scan(to, again, *broadcasts(*range(3, 10)))
    assert before + take_positions(slow) == seen


def test_one_that_has_to_read_first_in_the_middle_of_a_portion_stands_there() -> None:
    at = hub()
    to = catch_up(at, ceiling=500)
    slow, quick = (
        resumed_session(to, cursor_at(3, 20)),
        resumed_session(to, cursor_at(3, 20), "c2", "bob"),
    )
    scan = new_scan(to, slow, quick)
    portion = [event(n, accounts=["bob" if n in {4, 6} else "ann"]) for n in range(3, 9)]
    assert deliver_scan(to, scan, *portion) == [slow]
    assert (take_positions(slow), cursor_offsets(at, slow)["orders"]) == (
        ["orders:0:3", "orders:0:5"],
        {0: 7, 1: 20},
    )
    assert take_positions(quick) == ["orders:0:4", "orders:0:6"]
    assert cursor_offsets(at, quick)["orders"] == {0: 9, 1: 20}


# -- entering --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "fits"), [(4, False), (5, True), (6, True), (10, True)])
def test_one_can_enter_as_long_as_nothing_that_it_needs_was_passed(place: int, fits: bool) -> None:
    to = catch_up(hub())
    scan = new_scan(to, resumed_session(to, cursor_at(3, 20)))
    deliver_scan(to, scan, *broadcasts(3, 4))
    it = resumed_session(to, cursor_at(place, 20), "c2")
    assert to.can_serve(scan, it) == fits


def test_one_that_needs_what_is_not_read_does_not_fit() -> None:
    to = catch_up(hub())
    scan = new_scan(to, resumed_session(to, cursor_at(3, 20)))
    assert not to.can_serve(scan, resumed_session(to, cursor_at(3, 19), "c2"))
    assert not to.can_serve(scan, session())


def test_one_to_whom_a_pass_would_seem_to_have_given_what_is_in_memory_does_not_fit() -> None:
    at = hub()
    to = catch_up(at)
    scan = new_scan(to, resumed_session(to, cursor_at(3, 12)))
    deliver_scan(to, scan, *broadcasts(3, 6), next_offset=8)
    other = new_scan(to, resumed_session(to, cursor_at(3, 20), "c2"))
    deliver_scan(to, other, *broadcasts(3, 6), next_offset=10)
    at.journal.prepend_backfill("orders", 0, other.backfills["orders", 0])
    late = resumed_session(
        to, cursor_at(5, 15), "c3"
    )  # what it needs of the first partition is there now
    assert to.missing_ranges(late) == {("orders", 1): (15, 20)}
    assert not to.can_serve(scan, late)


def test_one_that_follows_another_topic_is_not_held_up_by_what_was_passed() -> None:
    to = catch_up(hub())
    scan = new_scan(
        to,
        resumed_session(to, cursor_at(3, 20)),
        resumed_session(to, {"news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})}, topics=["news"]),
    )
    deliver_scan(to, scan, *broadcasts(3), next_offset=10)
    late = resumed_session(
        to, {"news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})}, "c3", topics=["news"]
    )
    assert to.can_serve(scan, late)


def test_one_whose_cursor_does_not_name_all_its_topics_is_told_one_that_does() -> None:
    at = hub()
    to = catch_up(at)
    named = resumed_session(
        to, {**cursor_at(3, 20), "news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})}, topics=BOTH
    )
    it, other = (
        resumed_session(to, cursor_at(3, 20), topics=BOTH),
        resumed_session(to, cursor_at(3, 20), topics=BOTH),
    )
    new_scan(to, other)
    assert take_frames(other) == []
    new_scan(to, named, it)
    assert take_frames(named) == []
    (beat,) = take_frames(it)
    assert offsets_by_topic(decode_cursor(beat["cursor"])).keys() == {"orders", "news"}


# -- what a session does meanwhile -----------------------------------------------------------------


def test_rooms_and_topics_count_from_the_moment_on() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 20), rooms=["r"])
    scan = new_scan(to, it)
    in_rooms = [event(n, rooms=["r" if n % 2 else "s"]) for n in range(3, 9)]
    deliver_scan(to, scan, *in_rooms[:2])
    at.unsubscribe(it, [], ["r"])
    at.subscribe(it, [], ["s"])
    deliver_scan(to, scan, *in_rooms[2:4])
    at.unsubscribe(it, ["orders"], [])
    deliver_scan(to, scan, *in_rooms[4:])
    assert take_positions(it) == ["orders:0:3", "orders:0:6"]
    at.subscribe(it, ["orders"], [])
    deliver_scan(to, scan, event(9, rooms=["s"]))
    publish(at, event(10, rooms=["s"]))
    to.advance(it)
    assert take_summary(it) == ["orders:0:10", "live"]


def test_one_that_is_gone_is_served_no_more() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 20))
    scan = new_scan(to, it)
    at.detach(it)
    assert scan.subscriptions.all_sessions == set()
    assert deliver_scan(to, scan, *broadcasts(3)) == []
    assert it.outbox.pending_bytes == 0
