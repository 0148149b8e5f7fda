"""Contract 3.3: complete or refused, per topic, never silently partial; and why it was refused."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol.cursor import Place, read_cursor
from bridge.core.replay.retention import NOWHERE
from bridge.core.sessions.session import Need
from tests.core.given import (
    HERE,
    LIFE,
    OTHER_LIFE,
    catch_up,
    event,
    frames,
    gaps,
    hub,
    judged,
    kafka_says,
    publish,
    read,
    returned,
    scan_for,
    standing,
    stands,
)

# -- ahead of this instance ------------------------------------------------------------------------


@pytest.mark.parametrize("end", [12, 15])
def test_an_instance_that_is_behind_the_cursor_sends_nothing_at_or_below_it(end: int) -> None:
    at, to, it = judged(standing(12, 20), end={0: end, 1: 20})
    assert to.step(it) is Need.NOTHING
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    publish(at, event(20, all=True), partition=1)
    live, *events = frames(it)
    assert read_cursor(live.pop("cursor"))["orders"] == Place(LIFE, {0: 12, 1: 20})
    assert live == {"op": "live", "replayed": 0}
    assert [each["at"] for each in events] == [
        *("orders:0:12", "orders:0:13", "orders:0:14", "orders:1:20")
    ]
    assert it.floors is not None
    assert stands(at, it)["orders"] == {0: 15, 1: 21}
    assert it.floors is None  # once it is read past


def test_a_cursor_never_falls_back_behind_the_clients_own() -> None:
    at, to, it = judged(standing(12, 20, 1), end={0: 15, 1: 20, 2: 1})
    to.step(it)
    for count in (1, 3):
        assert stands(at, it)["orders"] == {0: 12, 1: 20, 2: 1}
        publish(at, next=10 + count)
    assert stands(at, it)["orders"] == {0: 13, 1: 20, 2: 1}


def test_what_was_missed_elsewhere_is_replayed_to_one_that_is_ahead_too() -> None:
    at, to, it = judged(standing(12, 20))
    publish(at, event(20, all=True), partition=1)
    assert to.step(it) is Need.NOTHING
    assert frames(it)[0]["at"] == "orders:1:20"


@pytest.mark.parametrize(
    "place", [{0: 12, 1: 20}, {0: 10, 1: 25}, {0: 3, 1: 25}, {0: 10, 1: 20, 2: 1}]
)
def test_one_beyond_kafkas_end_is_told_that_the_log_was_truncated(place: dict[int, int]) -> None:
    at, to, it = judged({"orders": Place(LIFE, place)}, end={0: 11, 1: 24})
    assert gaps(it) == [("orders", "truncated", {**HERE, "news": HERE["orders"]})]
    assert to.step(it) is Need.NOTHING
    publish(at, event(10, all=True))
    assert [each["op"] for each in frames(it)] == ["live", "event"]


def test_a_topic_that_kafka_has_no_more_is_truncated() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(12, 20))
    assert to.judge(it, {"orders": NOWHERE})
    assert gaps(it) == [("orders", "truncated", HERE)]


# -- what Kafka has no more, or may not be read ----------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "reason"),
    [
        ({"start": {0: 4}}, "expired"),
        ({"aged": {0: 4}}, "limit"),
        ({"start": {0: 5}, "aged": {0: 5}}, "expired"),
        ({"start": {0: 3}, "aged": {0: 3}}, None),
        ({"start": {0: 0, 1: 20}, "aged": {0: 0, 1: 20}}, None),
    ],
)
def test_a_topic_is_replayed_whole_or_refused_with_the_reason(
    bounds: dict[str, Any], reason: str | None
) -> None:
    at, to, it = judged({**standing(3, 20), "news": HERE["orders"]}, **bounds)
    assert gaps(it) == (
        [] if reason is None else [("orders", reason, {**HERE, "news": HERE["orders"]})]
    )
    publish(at, event(10, all=True))
    assert to.step(it) is (Need.KAFKA if reason is None else Need.NOTHING)
    if reason:
        assert [each["op"] for each in frames(it)] == ["event", "live"]


def test_what_the_journal_has_is_bound_by_no_limit() -> None:
    at = hub()
    to = catch_up(at, records=0)
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    it = returned(to, standing(10, 20))
    assert to.judge(it, kafka_says(start={0: 14}, aged={0: 15}))
    assert to.step(it) is Need.NOTHING
    assert [each["op"] for each in frames(it)] == [*["event"] * 5, "live"]


@pytest.mark.parametrize(
    ("records", "refused"),
    [(16, []), (15, ["orders"]), (5, ["orders"]), (4, ["news", "orders"]), (0, ["news", "orders"])],
)
def test_no_more_records_are_read_than_allowed_the_small_topics_first(
    records: int, refused: list[str]
) -> None:
    cursor = {"news": Place(LIFE, {0: 5, 1: 20}), "orders": Place(LIFE, {0: 7, 1: 12})}
    _, to, it = judged(cursor, records=records)
    assert [(topic, reason) for topic, reason, _ in gaps(it)] == [
        (t, "limit") for t in sorted(refused, key=["news", "orders"].index)
    ]
    assert {topic for topic, _ in to.missing(it)} == {"news", "orders"} - set(refused)


def test_what_was_read_for_it_already_counts() -> None:
    at, to, it = judged(standing(3, 20), records=10)
    scan = scan_for(to, it)
    read(to, scan, *(event(offset, all=True) for offset in range(3, 8)))
    to.leave(it)
    frames(it)
    for count, refused in ((3, False), (1, True)):
        at.skip("orders", "expired", {0: at.logs["orders"].next[0] + count})
        to.step(it)
        to.judge(it, kafka_says())
        assert [reason for _, reason, _ in gaps(it)] == ["limit"] * refused


def test_one_that_the_journal_runs_away_from_is_not_read_for_without_end() -> None:
    at, to, it = judged(standing(3, 20), records=10)
    scan = scan_for(to, it)
    read(to, scan, next=10)
    publish(at, next=14)
    at.journal.begin("orders", 0, 14)  # what was in memory is there no more
    assert to.step(it) is Need.KAFKA
    assert it.replay is not None
    assert not it.replay.judged
    to.judge(it, kafka_says())
    assert [reason for _, reason, _ in gaps(it)] == ["limit"]


def test_where_kafka_tells_of_another_life_than_this_instance_knows_it_is_asked_again() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 20))
    assert to.step(it) is Need.KAFKA
    for unfit in ({}, kafka_says(OTHER_LIFE)):
        assert not to.judge(it, unfit)
        assert frames(it) == []
    at.begin("orders", OTHER_LIFE, {0: 0})
    assert to.judge(it, kafka_says(OTHER_LIFE))
