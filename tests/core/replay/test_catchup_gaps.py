"""Contract 3.3: complete or refused, per topic, never silently partial; and why it was refused."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor
from bridge.core.replay.catchup import NextStep
from bridge.core.replay.retention import MISSING_TOPIC
from tests.core.factories import (
    HUB_START,
    OTHER_TOPIC_ID,
    TOPIC_ID,
    catch_up,
    cursor_at,
    cursor_offsets,
    deliver_scan,
    event,
    hub,
    judged_session,
    log_bounds,
    new_scan,
    publish,
    resumed_session,
    take_frames,
    take_gaps,
)

# -- ahead of this instance ------------------------------------------------------------------------


@pytest.mark.parametrize("end", [12, 15])
def test_an_instance_that_is_behind_the_cursor_sends_nothing_at_or_below_it(end: int) -> None:
    at, to, it = judged_session(cursor_at(12, 20), end={0: end, 1: 20})
    assert to.advance(it) is NextStep.DONE
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    publish(at, event(20, all=True), partition=1)
    live, *events = take_frames(it)
    assert decode_cursor(live.pop("cursor"))["orders"] == TopicOffsets(TOPIC_ID, {0: 12, 1: 20})
    assert live == {"op": "live", "replayed": 0}
    assert [each["at"] for each in events] == [
        *("orders:0:12", "orders:0:13", "orders:0:14", "orders:1:20")
    ]
    assert it.min_offsets is not None
    assert cursor_offsets(at, it)["orders"] == {0: 15, 1: 21}
    assert it.min_offsets is None  # once it is read past


def test_a_cursor_never_falls_back_behind_the_clients_own() -> None:
    at, to, it = judged_session(cursor_at(12, 20, 1), end={0: 15, 1: 20, 2: 1})
    to.advance(it)
    for count in (1, 3):
        assert cursor_offsets(at, it)["orders"] == {0: 12, 1: 20, 2: 1}
        publish(at, next_offset=10 + count)
    assert cursor_offsets(at, it)["orders"] == {0: 13, 1: 20, 2: 1}


def test_what_was_missed_elsewhere_is_replayed_to_one_that_is_ahead_too() -> None:
    at, to, it = judged_session(cursor_at(12, 20))
    publish(at, event(20, all=True), partition=1)
    assert to.advance(it) is NextStep.DONE
    assert take_frames(it)[0]["at"] == "orders:1:20"


@pytest.mark.parametrize(
    "place", [{0: 12, 1: 20}, {0: 10, 1: 25}, {0: 3, 1: 25}, {0: 10, 1: 20, 2: 1}]
)
def test_one_beyond_kafkas_end_is_told_that_the_log_was_truncated(place: dict[int, int]) -> None:
    at, to, it = judged_session({"orders": TopicOffsets(TOPIC_ID, place)}, end={0: 11, 1: 24})
    assert take_gaps(it) == [("orders", "truncated", {**HUB_START, "news": HUB_START["orders"]})]
    assert to.advance(it) is NextStep.DONE
    publish(at, event(10, all=True))
    assert [each["op"] for each in take_frames(it)] == ["live", "event"]


def test_a_topic_that_kafka_has_no_more_is_truncated() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(12, 20))
    assert to.check_bounds(it, {"orders": MISSING_TOPIC})
    assert take_gaps(it) == [("orders", "truncated", HUB_START)]


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
    at, to, it = judged_session({**cursor_at(3, 20), "news": HUB_START["orders"]}, **bounds)
    assert take_gaps(it) == (
        [] if reason is None else [("orders", reason, {**HUB_START, "news": HUB_START["orders"]})]
    )
    publish(at, event(10, all=True))
    assert to.advance(it) is (NextStep.READ_KAFKA if reason is None else NextStep.DONE)
    if reason:
        assert [each["op"] for each in take_frames(it)] == ["event", "live"]


def test_what_the_journal_has_is_bound_by_no_limit() -> None:
    at = hub()
    to = catch_up(at, records=0)
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    it = resumed_session(to, cursor_at(10, 20))
    assert to.check_bounds(it, log_bounds(start={0: 14}, aged={0: 15}))
    assert to.advance(it) is NextStep.DONE
    assert [each["op"] for each in take_frames(it)] == [*["event"] * 5, "live"]


@pytest.mark.parametrize(
    ("records", "refused"),
    [(16, []), (15, ["orders"]), (5, ["orders"]), (4, ["news", "orders"]), (0, ["news", "orders"])],
)
def test_no_more_records_are_read_than_allowed_the_small_topics_first(
    records: int, refused: list[str]
) -> None:
    cursor = {
        "news": TopicOffsets(TOPIC_ID, {0: 5, 1: 20}),
        "orders": TopicOffsets(TOPIC_ID, {0: 7, 1: 12}),
    }
    _, to, it = judged_session(cursor, records=records)
    assert [(topic, reason) for topic, reason, _ in take_gaps(it)] == [
        (t, "limit") for t in sorted(refused, key=["news", "orders"].index)
    ]
    assert {topic for topic, _ in to.missing_ranges(it)} == {"news", "orders"} - set(refused)


def test_what_was_read_for_it_already_counts() -> None:
    at, to, it = judged_session(cursor_at(3, 20), records=10)
    scan = new_scan(to, it)
    deliver_scan(to, scan, *(event(offset, all=True) for offset in range(3, 8)))
    to.leave_scan(it)
    take_frames(it)
    for count, refused in ((3, False), (1, True)):
        at.skip_unreadable(
            "orders", "expired", {0: at.topic_positions["orders"].next_offsets[0] + count}
        )
        to.advance(it)
        to.check_bounds(it, log_bounds())
        assert [reason for _, reason, _ in take_gaps(it)] == ["limit"] * refused


def test_one_that_the_journal_runs_away_from_is_not_read_for_without_end() -> None:
    at, to, it = judged_session(cursor_at(3, 20), records=10)
    scan = new_scan(to, it)
    deliver_scan(to, scan, next_offset=10)
    publish(at, next_offset=14)
    at.journal.reset_partition("orders", 0, 14)  # what was in memory is there no more
    assert to.advance(it) is NextStep.READ_KAFKA
    assert it.replay is not None
    assert not it.replay.is_admitted
    to.check_bounds(it, log_bounds())
    assert [reason for _, reason, _ in take_gaps(it)] == ["limit"]


def test_where_kafka_tells_of_another_life_than_this_instance_knows_it_is_asked_again() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 20))
    assert to.advance(it) is NextStep.READ_KAFKA
    for unfit in ({}, log_bounds(OTHER_TOPIC_ID)):
        assert not to.check_bounds(it, unfit)
        assert take_frames(it) == []
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    assert to.check_bounds(it, log_bounds(OTHER_TOPIC_ID))
