"""What a pass over Kafka's records can not or may not read, and who is told of it."""

from __future__ import annotations

from bridge.core.protocol.cursor import TopicOffsets
from tests.core.factories import (
    OTHER_TOPIC_ID,
    TOPIC_ID,
    broadcasts,
    catch_up,
    cursor_at,
    cursor_offsets,
    deliver_scan,
    hub,
    log_bounds,
    new_scan,
    publish,
    resumed_session,
    take_summary,
)

# -- what a pass can not read ----------------------------------------------------------------------


def test_those_who_have_come_to_what_can_not_be_read_are_told_and_the_others_go_on() -> None:
    at = hub()
    to = catch_up(at)
    stuck, beyond = (
        resumed_session(to, cursor_at(3, 20)),
        resumed_session(to, cursor_at(8, 20), "c2"),
    )
    elsewhere = resumed_session(
        to, {"news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})}, "c3", topics=["news"]
    )
    scan = new_scan(to, stuck, beyond, elsewhere)
    deliver_scan(to, scan, *broadcasts(3, 4), next_offset=6)
    assert set(to.drop_partition(scan, "orders", 0, "corrupt")) == {stuck, beyond}
    assert take_summary(stuck) == ["orders:0:3", "orders:0:4", "corrupt"]
    assert cursor_offsets(at, stuck) == {"orders": {0: 10, 1: 20}}
    assert (take_summary(beyond), to.missing_ranges(beyond)) == ([], {("orders", 0): (8, 10)})
    assert scan.subscriptions.all_sessions == {elsewhere}
    assert not to.can_serve(scan, beyond)
    assert to.drop_partition(scan, "orders", 0, "corrupt") == []
    assert to.drop_partition(scan, "orders", 1, "corrupt") == []


def test_those_whose_place_is_not_in_the_log_any_more_are_judged_anew() -> None:
    at = hub()
    to = catch_up(at)
    gone, there = resumed_session(to, cursor_at(3, 20)), resumed_session(to, cursor_at(8, 20), "c2")
    for each in (gone, there):
        to.check_bounds(each, log_bounds())
    scan = new_scan(to, gone, there)
    assert set(to.drop_partition(scan, "orders", 0, None)) == {gone, there}
    assert [each.replay.is_admitted for each in (gone, there) if each.replay] == [False, True]
    assert to.check_bounds(gone, log_bounds(start={0: 5}))
    assert take_summary(gone) == ["expired"]


def test_one_that_is_created_again_under_way_is_told_and_read_no_further() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(
        to,
        {**cursor_at(3, 20), "news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})},
        topics=["news", "orders"],
    )
    scan = new_scan(to, it)
    deliver_scan(to, scan, *broadcasts(3, 4))
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    assert take_summary(it) == ["orders:0:3", "orders:0:4", "recreated"]
    assert set(scan.next_offsets) == {("news", 0)}
    assert cursor_offsets(at, it) == {"orders": {}, "news": {0: 3, 1: 20}}
    assert to.drop_partition(scan, "orders", 0, "corrupt") == []
    deliver_scan(to, scan, *broadcasts(3), topic="news", next_offset=10)
    publish(at, *broadcasts(0))
    to.advance(it)
    assert take_summary(it) == ["news:0:3", "orders:0:0", "live"]


def test_one_that_is_cut_off_under_way_is_told_and_read_no_further() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 12))
    scan = new_scan(to, it)
    deliver_scan(to, scan, *broadcasts(3, 4), next_offset=8)
    at.skip_unreadable("orders", "truncated", {0: 6})
    assert take_summary(it) == ["orders:0:3", "orders:0:4", "truncated"]
    assert cursor_offsets(at, it) == {"orders": {0: 6, 1: 20}}
    assert set(scan.next_offsets) == {("orders", 1)}


# -- limits ----------------------------------------------------------------------------------------


def test_those_for_whom_as_much_was_read_as_may_be_are_told() -> None:
    at = hub()
    to = catch_up(at, bytes=100)
    first = resumed_session(to, cursor_at(3, 20))
    scan = new_scan(to, first)
    scan.bytes_by_topic["orders"] += 60
    late = resumed_session(to, cursor_at(3, 20), "c2")
    to.join_scan(scan, late)
    scan.bytes_by_topic["orders"] += 39
    assert to.remaining_bytes(scan) == 61, "the other one came later"
    assert to.sessions_over_byte_limit(scan) == []
    scan.bytes_by_topic["orders"] += 1
    assert to.sessions_over_byte_limit(scan) == [first]
    deliver_scan(to, scan, *broadcasts(3))
    to.send_limit_gaps(first)
    assert take_summary(first) == ["orders:0:3", "limit"]
    assert cursor_offsets(at, first) == {"orders": {0: 10, 1: 20}}
    assert scan.subscriptions.all_sessions == {late}
    to.leave_scan(late)
    again = new_scan(to, late)
    again.bytes_by_topic["orders"] += 60
    assert to.sessions_over_byte_limit(again) == [late]


def test_what_others_need_costs_nobody() -> None:
    to = catch_up(hub(), bytes=100, records=10)
    it = resumed_session(to, cursor_at(3, 20))
    other = resumed_session(
        to, {"news": TopicOffsets(TOPIC_ID, {0: 3, 1: 20})}, "c2", topics=["news"]
    )
    scan = new_scan(to, it, other)
    scan.bytes_by_topic.update(orders=90, news=90)
    assert to.sessions_over_byte_limit(scan) == []
    deliver_scan(to, scan, next_offset=10)
    deliver_scan(to, scan, topic="news", next_offset=9)
    to.leave_scan(it)
    assert it.replay is not None
    assert (it.replay.records_read, it.replay.bytes_read) == (7, 90)


def test_a_topic_that_is_followed_later_has_cost_nothing_before() -> None:
    at = hub()
    to = catch_up(at, bytes=100)
    it, other = (
        resumed_session(to, cursor_at(3, 20)),
        resumed_session(to, {"news": TopicOffsets(TOPIC_ID, {0: 3})}, "c2", topics=["news"]),
    )
    scan = new_scan(to, other)
    scan.bytes_by_topic["news"] += 90
    to.join_scan(scan, it)
    at.subscribe(it, ["news"], [])
    scan.bytes_by_topic["news"] += 20
    assert to.sessions_over_byte_limit(scan) == [other]
