"""Contract 3.3, 3.4 and promises 2, 4, 5: what happens to sessions while the stream goes on."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.core.protocol.record import Batch, DecodedBatch
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.registry import SubscriptionIndex
from bridge.core.sessions.session import SessionState
from tests.core.factories import (
    CURSOR_TIME,
    OTHER_TOPIC_ID,
    TOPIC_ID,
    attached_session,
    event,
    hub,
    jitter,
    offsets_by_topic,
    publish,
    record,
    session,
    take_frames,
)

# -- slow readers ----------------------------------------------------------------------------------


def test_one_that_is_slow_is_closed_with_a_cursor_that_covers_what_it_was_sent() -> None:
    at = hub(ceiling=150)
    it = attached_session(at)
    publish(at, *(event(offset, all=True) for offset in (10, 12, 14, 16)), next_offset=20)
    *events, closing = take_frames(it)
    assert [each["at"] for each in events] == ["orders:0:10", "orders:0:12"]
    assert offsets_by_topic(decode_cursor(closing.pop("cursor"))) == {"orders": {0: 14, 1: 20}}
    assert closing == {
        "op": "closing",
        "code": 4002,
        "reason": close_codes.SLOW.reason,
        "reconnect": True,
        "retry_after": jitter(close_codes.SLOW.retry_after),
    }
    assert it.close_code == close_codes.SLOW
    assert it.state is SessionState.CLOSING


def test_of_a_run_that_is_not_taken_nothing_is_covered() -> None:
    at = hub(ceiling=10_000)
    it = attached_session(at)
    waiting, ended = iter(range(10, 1000)), False
    while not ended:
        run = [event(next(waiting), rooms=["r"]), event(next(waiting), all=True)]
        run += [event(next(waiting), b"1", all=True) for _ in range(2)]
        publish(at, *run)
        ended = it.state is SessionState.CLOSING
    *events, closing = take_frames(it)
    covered = offsets_by_topic(decode_cursor(closing["cursor"]))["orders"][0]
    assert covered == run[1].offset
    assert [int(each["at"].split(":")[-1]) for each in events][-1] == run[0].offset - 1


def test_one_that_is_slow_delays_and_costs_nobody_else() -> None:
    at = hub(ceiling=150)
    slow, quick = attached_session(at, "c1"), attached_session(at, "c2", "bob")
    seen = []
    for offset in range(10, 16):
        publish(at, event(offset, all=True))
        seen += [each["at"] for each in take_frames(quick)]
    assert seen == [f"orders:0:{offset}" for offset in range(10, 16)]
    assert slow.state is SessionState.CLOSING
    assert offsets_by_topic(decode_cursor(at.cursor(quick))) == {"orders": {0: 16, 1: 20}}
    assert at.subscriptions.all_sessions == {quick}


def test_an_event_larger_than_an_outbox_still_reaches_one_that_keeps_up() -> None:
    at = hub(ceiling=10)
    it = attached_session(at)
    publish(at, event(10, b'"' + b"x" * 500 + b'"', all=True))
    (only,) = take_frames(it)
    assert only["data"] == "x" * 500


def test_two_that_overflow_in_one_batch_are_each_told_their_own_place() -> None:
    at = hub(ceiling=150)
    first, second = attached_session(at, "c1"), attached_session(at, "c2", "bob")
    publish(
        at,
        *(event(offset, accounts=["ann"]) for offset in (10, 11, 12)),
        *(event(offset, accounts=["bob"]) for offset in (13, 14, 15)),
        next_offset=17,
    )
    places = [decode_cursor(take_frames(each)[-1]["cursor"]) for each in (first, second)]
    assert [offsets_by_topic(place)["orders"][0] for place in places] == [12, 15]
    assert offsets_by_topic(decode_cursor(at.cursor(session()))) == {"orders": {0: 17, 1: 20}}


# -- hanging up ------------------------------------------------------------------------------------


def test_the_first_reason_to_close_is_the_one_that_is_told_and_nothing_follows() -> None:
    at = hub()
    it = attached_session(at, rooms=["r"])
    publish(at, event(10, all=True))
    at.close(it, close_codes.DRAINING)
    at.close(it, close_codes.MISBEHAVING)
    publish(at, event(11, all=True, rooms=["r"], accounts=["ann"], connections=["c1"]))
    first, closing = take_frames(it)
    assert first["at"] == "orders:0:10"
    assert (closing["code"], closing["retry_after"]) == (
        4001,
        jitter(close_codes.DRAINING.retry_after),
    )
    assert offsets_by_topic(decode_cursor(closing["cursor"])) == {"orders": {0: 11, 1: 20}}
    assert it.close_code == close_codes.DRAINING


def test_after_the_grant_what_was_queued_is_discarded_and_no_cursor_claims_it() -> None:
    at = hub()
    it = attached_session(at)
    publish(at, event(10, all=True))
    at.close(it, close_codes.EXPIRED, discard_queued=True)
    (closing,) = take_frames(it)
    assert (closing["code"], closing["cursor"]) == (4005, None)


def test_where_nothing_was_queued_a_discard_still_tells_the_cursor() -> None:
    at = hub()
    it = attached_session(at)
    at.close(it, close_codes.EXPIRED, discard_queued=True)
    (closing,) = take_frames(it)
    assert closing["cursor"] == at.cursor(it)


def test_one_that_is_refused_before_its_welcome_is_told_no_cursor() -> None:
    at, it = hub(), session()
    at.close(it, close_codes.FORBIDDEN)
    (closing,) = take_frames(it)
    assert (closing["code"], closing["reconnect"], closing["cursor"]) == (4501, False, None)
    assert it.state is SessionState.CLOSING


def test_nothing_is_kept_for_those_who_left() -> None:
    at = hub()
    gone, closed = (
        attached_session(at, "c1", rooms=["r"]),
        attached_session(at, "c2", "bob", rooms=["r"]),
    )
    publish(at, event(10, all=True))
    at.close(closed, close_codes.DRAINING)
    at.detach(closed)
    at.detach(gone)
    at.detach(gone)
    assert vars(at.subscriptions) == vars(SubscriptionIndex())
    assert (gone.state, closed.state) == (SessionState.CLOSED, SessionState.CLOSED)
    assert (gone.outbox.pending_bytes, closed.outbox.pending_bytes) == (0, 0)


# -- the log ---------------------------------------------------------------------------------------


def test_a_partition_added_later_is_in_every_cursor() -> None:
    at = hub()
    it = attached_session(at)
    at.set_start_offsets("orders", TOPIC_ID, {2: 0})
    publish(at, event(0, all=True), partition=2)
    assert [each["at"] for each in take_frames(it)] == ["orders:2:0"]
    assert offsets_by_topic(decode_cursor(at.cursor(it))) == {"orders": {0: 10, 1: 20, 2: 1}}


def test_a_topic_that_was_created_again_is_a_gap_for_those_connected() -> None:
    at = hub()
    it, other = attached_session(at), attached_session(at, "c2", topics=["news"])
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    publish(at, event(0, all=True))
    gap, first = take_frames(it)
    assert decode_cursor(gap.pop("cursor")) == {"orders": TopicOffsets(OTHER_TOPIC_ID, {0: 0})}
    assert gap == {"op": "gap", "topic": "orders", "reason": "recreated"}
    assert first["at"] == "orders:0:0"
    assert take_frames(other) == []


def test_after_a_gap_no_place_of_before_holds_anything_back() -> None:
    at = hub()
    it = attached_session(at)
    it.min_offsets = {"orders": {0: 99}}
    at.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    publish(at, event(0, all=True))
    gap, first = take_frames(it)
    assert decode_cursor(gap["cursor"]) == {"orders": TopicOffsets(OTHER_TOPIC_ID, {0: 0})}
    assert first["at"] == "orders:0:0"


@pytest.mark.parametrize("identity", [TOPIC_ID, b""])
def test_a_topic_is_not_created_again_because_nobody_tells_its_identity(identity: bytes) -> None:
    at = hub()
    it = attached_session(at)
    at.set_start_offsets("orders", identity, {2: 0})
    assert take_frames(it) == []
    assert decode_cursor(at.cursor(it))["orders"].topic_id == TOPIC_ID


def test_an_identity_that_was_not_known_before_is_no_other_life() -> None:
    at = hub()
    at.topic_positions["orders"].reset(b"", {0: 10})
    it = attached_session(at)
    at.set_start_offsets("orders", TOPIC_ID, {})
    assert take_frames(it) == []
    assert decode_cursor(at.cursor(it)) == {"orders": TopicOffsets(TOPIC_ID, {0: 10})}


def test_what_can_not_be_read_is_a_gap_and_the_topic_goes_on_behind_it() -> None:
    at = hub()
    it, other = attached_session(at), attached_session(at, "c2", topics=["news"])
    at.skip_unreadable("orders", "corrupt", {1: 25})
    publish(at, event(25, all=True), partition=1)
    gap, first = take_frames(it)
    assert gap["reason"] == "corrupt"
    assert gap["cursor"] == encode_cursor(
        {"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 25})}, CURSOR_TIME
    )
    assert first["at"] == "orders:1:25"
    assert take_frames(other) == []


def test_everything_that_is_read_is_counted() -> None:
    at = hub()
    attached_session(at, "c1")
    attached_session(at, "c2")
    values: list[dict[str, Any]] = [{"all": True}, {"accounts": ["eve"]}, {"data": 1}, {"all": 1}]
    records = [record(value, offset=10 + number) for number, value in enumerate(values)]
    at.deliver_batch(native_decoder(100).decode(Batch("orders", 0, records, 14)))
    assert (
        at.counters.records_read,
        at.counters.records_addressed,
        at.counters.records_unaddressed,
        at.events_delivered,
    ) == (4, 2, {"orders": 1}, 2)
    assert at.topic_positions["orders"].next_offsets == {0: 14, 1: 20}


def test_filtered_records_are_counted_by_topic_and_are_read() -> None:
    at = hub()
    at.deliver_batch(DecodedBatch("orders", 0, [], 14, 1, [], filtered=3))
    at.deliver_batch(DecodedBatch("orders", 1, [], 24, 0, [], filtered=1))
    assert at.counters.records_filtered == {"orders": 4}
    assert (at.counters.records_read, at.counters.records_unaddressed) == (5, {"orders": 1})
