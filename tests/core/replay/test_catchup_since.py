"""Contract, Appendix A: one that asks for a time knows that it may begin later, but not more."""

from __future__ import annotations

import pytest

from tests.core.given import (
    LIFE,
    ats,
    event,
    frames,
    gaps,
    judged,
    kafka_says,
    read,
    scan_for,
    standing,
)


def test_one_that_asked_for_a_time_begins_where_the_log_and_the_limits_do() -> None:
    _, to, it = judged(standing(3, 4), clip=True, start={0: 5, 1: 0}, aged={0: 0, 1: 6})
    assert gaps(it) == []
    assert to.missing(it) == {("orders", 0): (5, 10), ("orders", 1): (6, 20)}


def test_it_begins_later_where_the_log_moved_on_before_its_turn() -> None:
    _, to, it = judged(standing(3, 20), clip=True, start={0: 5})
    assert to.judge(it, kafka_says(start={0: 7}))
    assert (gaps(it), to.missing(it)) == ([], {("orders", 0): (7, 10)})


@pytest.mark.parametrize("bound", ["start", "aged"])
def test_what_it_loses_after_its_first_event_it_is_told(bound: str) -> None:
    _, to, it = judged(standing(3, 4), clip=True)
    scan = scan_for(to, it)
    read(to, scan, event(3, all=True))
    to.leave(it)
    assert ats(it) == ["orders:0:3"]
    assert to.judge(it, kafka_says(LIFE, **{bound: {0: 7, 1: 0}}))
    assert [reason for _, reason, _ in gaps(it)] == ["limit" if bound == "aged" else "expired"]


def test_a_partition_that_was_not_begun_may_still_begin_later() -> None:
    _, to, it = judged(standing(3, 4), clip=True)
    scan = scan_for(to, it)
    read(to, scan, event(3, all=True))
    to.leave(it)
    frames(it)
    assert to.judge(it, kafka_says(start={0: 4, 1: 9}))
    assert (gaps(it), to.missing(it)[("orders", 1)]) == ([], (9, 20))


def test_after_a_gap_there_is_no_second_one_in_silence() -> None:
    at, to, it = judged(standing(3, 20), clip=True, records=2)
    assert [reason for _, reason, _ in gaps(it)] == ["limit"]
    at.journal.begin("orders", 0, 15)
    at.logs["orders"].move(0, 15)
    assert to.judge(it, kafka_says(start={0: 12}))
    assert [reason for _, reason, _ in gaps(it)] == ["expired"]
