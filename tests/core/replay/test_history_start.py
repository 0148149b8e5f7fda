"""Where a page begins: where it was asked to, or with the reason why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor
from bridge.core.replay.history import HistoryConstraints, HistoryRequest, start_page
from bridge.core.replay.retention import MISSING_TOPIC, LogBounds, ReplayLimits
from tests.core.factories import (
    OTHER_TOPIC_ID,
    TOPIC_ID,
    cursor_at,
    hub,
    log_bounds,
    offsets_by_topic,
    session,
)
from tests.core.history_model import read_written_page

if TYPE_CHECKING:
    from tests.harness.history_pages import ReceivedPage

#: The hub has read `orders` from 10 and 20 on; Kafka has it from 0 to 99, unless told otherwise.
LIMITS = ReplayLimits(1000, 1000)


def opened(
    cursor: Cursor | None = None,
    *,
    topics: tuple[str, ...] = ("orders",),
    bounds: dict[str, LogBounds] | None = None,
    limits: ReplayLimits = LIMITS,
    since: Cursor | None = None,
    damaged: dict[tuple[str, int], int] | None = None,
    **says: Any,
) -> ReceivedPage | None:
    """Begin a page and write it as it is; None where Kafka has to be asked again."""
    told = log_bounds(**says) if bounds is None else bounds
    asked = HistoryRequest(session(topics=topics), cursor, None if since is None else 0, 10)
    readable = {key: (offset, "corrupt") for key, offset in (damaged or {}).items()}
    page = start_page(hub(), asked, HistoryConstraints(told, limits, since or {}, readable))
    return None if page is None else read_written_page(page)


def places(turned: ReceivedPage | None) -> dict[int, int]:
    assert turned is not None
    return offsets_by_topic(decode_cursor(turned.cursor))["orders"]


def reasons(turned: ReceivedPage | None) -> list[str]:
    """Why something is missing; each gap has the cursor that the page begins with."""
    assert turned is not None
    assert all(gap["cursor"] == turned.cursor for gap in turned.gaps)
    return [f"{gap['topic']}: {gap['reason']}" for gap in turned.gaps]


# -- without a cursor ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("says", "begins"),
    [
        ({}, {0: 0, 1: 0}),
        ({"start": {0: 5}}, {0: 5, 1: 0}),
        ({"aged": {0: 5, 1: 7}}, {0: 5, 1: 7}),
        ({"start": {0: 5, 1: 9}, "aged": {0: 8, 1: 3}}, {0: 8, 1: 9}),
        ({"aged": {0: 99, 1: 99}}, {0: 99, 1: 99}),
        ({"start": {2: 0}, "end": {2: 3}, "aged": {2: 1}}, {0: 0, 1: 0, 2: 1}),
    ],
)
def test_who_has_no_cursor_begins_with_the_oldest_and_without_a_gap(
    says: Any, begins: dict[int, int]
) -> None:
    page = opened(**says)
    assert (places(page), reasons(page)) == (begins, [])


def test_a_time_is_a_place_that_may_be_too_old_without_a_gap() -> None:
    page = opened(since=cursor_at(4, 8), start={0: 6})
    assert (places(page), reasons(page)) == ({0: 6, 1: 8}, [])


def test_a_partition_that_came_after_the_time_was_looked_up_begins_with_its_first_event() -> None:
    assert places(opened(since=cursor_at(50), aged={0: 0, 1: 3})) == {0: 50, 1: 3}


def test_a_time_in_another_life_of_the_topic_is_looked_up_again() -> None:
    assert opened(since=cursor_at(4, 8, identity=OTHER_TOPIC_ID)) is None


# -- with one --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "at", [(0, 0), (3, 30), (10, 20), (99, 99)], ids=["first", "mixed", "journal", "end"]
)
def test_a_cursor_that_can_be_had_is_where_the_page_begins(at: tuple[int, int]) -> None:
    page = opened(cursor_at(*at))
    assert (places(page), reasons(page)) == (dict(enumerate(at)), [])


def test_the_cursor_of_a_page_tells_the_life_of_its_topic() -> None:
    page = opened(cursor_at(1, 2))
    assert page is not None
    assert decode_cursor(page.cursor)["orders"].topic_id == TOPIC_ID


@pytest.mark.parametrize(
    ("says", "begins", "why"),
    [
        ({"start": {0: 4}}, {0: 4, 1: 3}, "expired"),
        ({"aged": {0: 0, 1: 5}}, {0: 3, 1: 5}, "limit"),
        ({"start": {0: 4}, "aged": {0: 6, 1: 6}}, {0: 6, 1: 6}, "expired"),
        ({"end": {0: 2, 1: 99}}, {0: 2, 1: 3}, "truncated"),
        ({"end": {0: 2, 1: 99}, "start": {1: 4}}, {0: 2, 1: 4}, "truncated"),
    ],
)
def test_what_can_not_be_had_is_told_and_the_page_begins_with_the_oldest_there_is(
    says: Any, begins: dict[int, int], why: str
) -> None:
    page = opened(cursor_at(3, 3), **says)
    assert (places(page), reasons(page)) == (begins, [f"orders: {why}"])


def test_a_topic_that_was_created_again_begins_with_its_oldest() -> None:
    page = opened(cursor_at(50, 50, identity=OTHER_TOPIC_ID), start={0: 4})
    assert (places(page), reasons(page)) == ({0: 4, 1: 0}, ["orders: recreated"])


def test_an_event_that_is_too_old_is_still_told_where_it_is_in_memory() -> None:
    page = opened(cursor_at(10, 20), start={0: 50, 1: 50}, aged={0: 60, 1: 60})
    assert (places(page), reasons(page)) == ({0: 10, 1: 20}, [])


def test_a_partition_that_the_cursor_does_not_name_is_told_from_its_beginning() -> None:
    page = opened(cursor_at(5))
    assert (places(page), reasons(page)) == ({0: 5, 1: 0}, [])
    page = opened(cursor_at(5), start={1: 2})
    assert (places(page), reasons(page)) == ({0: 5, 1: 2}, ["orders: expired"])


def test_a_topic_that_the_cursor_does_not_name_goes_on_from_now() -> None:
    page = opened({"news": TopicOffsets(TOPIC_ID, {0: 0, 1: 0})}, topics=("orders", "news"))
    assert page is not None
    assert offsets_by_topic(decode_cursor(page.cursor)) == {
        "news": {0: 0, 1: 0},
        "orders": {0: 99, 1: 99},
    }
    assert page.gaps == []


def test_a_gap_in_one_topic_is_none_in_another() -> None:
    both = {**cursor_at(3, 3), "news": TopicOffsets(TOPIC_ID, {0: 5, 1: 5})}
    page = opened(both, topics=("orders", "news"), start={0: 4})
    assert reasons(page) == ["orders: expired"]


def test_a_cursor_without_an_identity_is_believed_to_be_of_this_life() -> None:
    page = opened(cursor_at(3, 4, identity=b""))
    assert (places(page), reasons(page)) == ({0: 3, 1: 4}, [])


def test_topics_in_the_cursor_that_are_not_asked_for_are_left_out() -> None:
    page = opened({**cursor_at(3, 3), "news": TopicOffsets(OTHER_TOPIC_ID, {0: 5})})
    assert page is not None
    assert decode_cursor(page.cursor).keys() == {"orders"}
    assert page.gaps == []


# -- what can not be read --------------------------------------------------------------------------


@pytest.mark.parametrize("cursor", [None, cursor_at(3, 3)])
def test_what_is_damaged_is_passed_and_told_to_everybody(cursor: Cursor | None) -> None:
    page = opened(cursor, damaged={("orders", 1): 8})
    assert places(page)[1] == 8
    assert reasons(page) == ["orders: corrupt"]


def test_what_is_damaged_below_the_beginning_matters_to_nobody() -> None:
    page = opened(cursor_at(9, 9), damaged={("orders", 1): 9, ("news", 0): 50})
    assert (places(page), reasons(page)) == ({0: 9, 1: 9}, [])


def test_a_page_does_not_begin_beyond_the_end_of_the_log() -> None:
    page = opened(cursor_at(3, 3), damaged={("orders", 1): 500})
    assert places(page) == {0: 3, 1: 99}


def test_the_first_reason_is_told() -> None:
    page = opened(cursor_at(3, 3), start={0: 4}, damaged={("orders", 1): 8})
    assert reasons(page) == ["orders: expired"]


@pytest.mark.parametrize("limits", [ReplayLimits(0, 1), ReplayLimits(1, 0)])
def test_where_nothing_may_be_read_from_kafka_only_memory_is_told(limits: ReplayLimits) -> None:
    page = opened(limits=limits)
    assert (places(page), reasons(page)) == ({0: 10, 1: 20}, [])
    page = opened(cursor_at(3, 30), limits=limits)
    assert (places(page), reasons(page)) == ({0: 10, 1: 30}, ["orders: limit"])
    assert places(opened(limits=limits, aged={0: 5, 1: 50})) == {0: 10, 1: 50}


# -- what Kafka says -------------------------------------------------------------------------------


def test_a_topic_that_does_not_exist_has_no_past() -> None:
    page = opened(bounds={"orders": MISSING_TOPIC})
    assert page is not None
    assert (page.events, page.more, page.gaps, places(page)) == ([], False, [], {})


def test_a_cursor_in_a_topic_that_is_gone_is_beyond_its_end() -> None:
    page = opened(cursor_at(3, 3), bounds={"orders": MISSING_TOPIC})
    assert (places(page), reasons(page)) == ({}, ["orders: truncated"])


def test_kafka_is_asked_again_where_it_says_less_or_something_else_than_is_known() -> None:
    assert opened(bounds={}) is None
    assert opened(identity=OTHER_TOPIC_ID) is None
    assert opened(topics=("orders", "news"), bounds={"orders": log_bounds()["orders"]}) is None
