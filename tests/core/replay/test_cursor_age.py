"""Contract 2, section 0: `MAX_AGE_SECONDS` of a resume counts from when its cursor was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.core.replay.catchup import CatchUp, NextStep
from bridge.core.replay.history import HistoryConstraints, HistoryRequest, start_page
from bridge.core.replay.retention import ReplayLimits
from tests.core.factories import (
    CURSOR_TIME,
    OTHER_TOPIC_ID,
    OUTBOX_BYTES,
    TOPIC_ID,
    cursor_at,
    cursor_offsets,
    hub,
    log_bounds,
    session,
    take_frames,
)

if TYPE_CHECKING:
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

MAX_AGE_SECONDS = 60
LIMITS = ReplayLimits(1000, 1 << 20, MAX_AGE_SECONDS)
#: By their stamps, all records of the log are too old to be replayed.
OLD_STAMPS = {0: 99, 1: 99}


def resumed(
    made_at: int | None, limits: ReplayLimits = LIMITS, identity: bytes = TOPIC_ID
) -> tuple[Hub, CatchUp, Session]:
    """Return a client that needs offsets 5 to 9 of partition 0 from Kafka."""
    at = hub()
    to = CatchUp(at, limits, OUTBOX_BYTES)
    text = encode_cursor(cursor_at(5, 20, identity=identity), made_at)
    it = session()
    to.start(it, decode_cursor(text), text)
    take_frames(it)
    return at, to, it


def gaps_of(it: Session) -> list[str]:
    return [frame["reason"] for frame in take_frames(it) if frame["op"] == "gap"]


@pytest.mark.parametrize("seconds_ago", [0, 1, 59, 60])
def test_who_was_away_for_less_misses_nothing_for_age_whatever_stamps_say(seconds_ago: int) -> None:
    at, to, it = resumed(CURSOR_TIME - seconds_ago)
    assert to.advance(it) is NextStep.READ_KAFKA
    assert to.check_bounds(it, log_bounds(aged=OLD_STAMPS))
    assert gaps_of(it) == []
    assert cursor_offsets(at, it) == {"orders": {0: 5, 1: 20}}


@pytest.mark.parametrize("seconds_ago", [62, 10**6])
def test_who_was_away_for_longer_gets_a_gap_whatever_stamps_say(seconds_ago: int) -> None:
    at, to, it = resumed(CURSOR_TIME - seconds_ago)
    assert to.check_bounds(it, log_bounds())
    assert gaps_of(it) == ["limit"]
    assert cursor_offsets(at, it) == {"orders": {0: 10, 1: 20}}


def test_an_old_cursor_that_missed_nothing_gets_no_gap() -> None:
    at = hub()
    to = CatchUp(at, LIMITS, OUTBOX_BYTES)
    text = encode_cursor(cursor_at(10, 20), 0)
    it = session()
    to.start(it, decode_cursor(text), text)
    take_frames(it)
    assert to.check_bounds(it, log_bounds())
    assert gaps_of(it) == []


def test_a_cursor_of_version_1_is_judged_by_stamps_as_before() -> None:
    for aged, expected in (({}, []), (OLD_STAMPS, ["limit"])):
        _, to, it = resumed(None)
        assert to.check_bounds(it, log_bounds(aged=aged))
        assert gaps_of(it) == expected


def test_a_cursor_of_a_clock_that_is_ahead_is_no_older_for_it() -> None:
    _, to, it = resumed(CURSOR_TIME + 10**6)
    assert to.check_bounds(it, log_bounds(aged=OLD_STAMPS))
    assert gaps_of(it) == []


def test_where_no_age_is_allowed_kafka_replays_nothing() -> None:
    _, to, it = resumed(CURSOR_TIME, ReplayLimits(1000, 1 << 20, 0))
    assert to.check_bounds(it, log_bounds())
    assert gaps_of(it) == ["limit"]


def test_what_expired_is_told_before_what_is_too_old() -> None:
    _, to, it = resumed(CURSOR_TIME - 10**6)
    assert to.check_bounds(it, log_bounds(start={0: 7}))
    assert gaps_of(it) == ["expired"]


@pytest.mark.parametrize(("seconds_ago", "expected"), [(5, 0), (10**6, 8)])
def test_a_recreated_topic_comes_from_its_beginning_whatever_stamps_say(
    seconds_ago: int, expected: int
) -> None:
    at, to, it = resumed(CURSOR_TIME - seconds_ago, identity=OTHER_TOPIC_ID)
    to.advance(it)
    assert to.check_bounds(it, log_bounds(aged={0: 8, 1: 8}))
    assert gaps_of(it) == ["recreated"]
    assert cursor_offsets(at, it)["orders"].get(0, 0) == expected


def test_every_cursor_has_the_time_when_it_was_made() -> None:
    at = hub()
    it = session()
    at.attach(it)
    at.send_heartbeat(it, None)
    welcome, beat = take_frames(it)
    for frame in (welcome, beat):
        assert frame["cursor"] == encode_cursor(
            {"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})}, CURSOR_TIME
        )


@pytest.mark.parametrize(
    ("seconds_ago", "reasons", "start"), [(5, [], 5), (62, ["limit"], 8), (None, ["limit"], 8)]
)
def test_a_page_of_history_counts_the_age_of_its_cursor_alike(
    seconds_ago: int | None, reasons: list[str], start: int
) -> None:
    at = hub(orders=False)
    made_at = None if seconds_ago is None else CURSOR_TIME - seconds_ago
    cursor = decode_cursor(encode_cursor(cursor_at(5, 20), made_at))
    request = HistoryRequest(session(), cursor, None, 100)
    page = start_page(at, request, HistoryConstraints(log_bounds(aged={0: 8}), LIMITS, {}, {}))
    assert page is not None
    assert [reason for reason in reasons if f'"{reason}"'.encode() in page.to_json()] == reasons
    assert len(page.gap_frames) == len(reasons)
    first = page.partition_cursor("orders", 0)
    assert first is not None
    assert first.start_offset == start
