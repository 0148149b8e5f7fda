"""Contract, Appendix A: one that asks for a time knows that it may begin later, but not more."""

from __future__ import annotations

import pytest

from tests.core.factories import (
    TOPIC_ID,
    cursor_at,
    deliver_scan,
    event,
    judged_session,
    log_bounds,
    new_scan,
    take_frames,
    take_gaps,
    take_positions,
)


def test_one_that_asked_for_a_time_begins_where_the_log_and_the_limits_do() -> None:
    _, to, it = judged_session(cursor_at(3, 4), clip=True, start={0: 5, 1: 0}, aged={0: 0, 1: 6})
    assert take_gaps(it) == []
    assert to.missing_ranges(it) == {("orders", 0): (5, 10), ("orders", 1): (6, 20)}


def test_it_begins_later_where_the_log_moved_on_before_its_turn() -> None:
    _, to, it = judged_session(cursor_at(3, 20), clip=True, start={0: 5})
    assert to.check_bounds(it, log_bounds(start={0: 7}))
    assert (take_gaps(it), to.missing_ranges(it)) == ([], {("orders", 0): (7, 10)})


@pytest.mark.parametrize("bound", ["start", "aged"])
def test_what_it_loses_after_its_first_event_it_is_told(bound: str) -> None:
    _, to, it = judged_session(cursor_at(3, 4), clip=True)
    scan = new_scan(to, it)
    deliver_scan(to, scan, event(3, all=True))
    to.leave_scan(it)
    assert take_positions(it) == ["orders:0:3"]
    assert to.check_bounds(it, log_bounds(TOPIC_ID, **{bound: {0: 7, 1: 0}}))
    assert [reason for _, reason, _ in take_gaps(it)] == ["limit" if bound == "aged" else "expired"]


def test_a_partition_that_was_not_begun_may_still_begin_later() -> None:
    _, to, it = judged_session(cursor_at(3, 4), clip=True)
    scan = new_scan(to, it)
    deliver_scan(to, scan, event(3, all=True))
    to.leave_scan(it)
    take_frames(it)
    assert to.check_bounds(it, log_bounds(start={0: 4, 1: 9}))
    assert (take_gaps(it), to.missing_ranges(it)[("orders", 1)]) == ([], (9, 20))


def test_after_a_gap_there_is_no_second_one_in_silence() -> None:
    at, to, it = judged_session(cursor_at(3, 20), clip=True, records=2)
    assert [reason for _, reason, _ in take_gaps(it)] == ["limit"]
    at.journal.reset_partition("orders", 0, 15)
    at.topic_positions["orders"].set_next_offset(0, 15)
    assert to.check_bounds(it, log_bounds(start={0: 12}))
    assert [reason for _, reason, _ in take_gaps(it)] == ["expired"]
