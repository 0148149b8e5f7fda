"""What a client and the backend may do while it is caught up, and what it is told then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import decode_cursor
from bridge.core.replay import catchup
from bridge.core.replay.catchup import NextStep
from bridge.core.sessions.session import SessionState
from tests.core.factories import (
    catch_up,
    cursor_at,
    cursor_offsets,
    event,
    hub,
    offsets_by_topic,
    publish,
    resumed_session,
    take_frames,
)

if TYPE_CHECKING:
    import pytest

# -- subscriptions during a replay -----------------------------------------------------------------


def test_a_room_is_followed_from_the_cursor_that_the_reply_tells() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, rooms=["r"]), event(11, rooms=["s"]))
    it = resumed_session(to, cursor_at(10, 20), rooms=["r"])
    at.subscribe(it, [], ["s"])
    at.unsubscribe(it, [], ["r"])
    at.reply_ok(it, 1)
    to.advance(it)
    reply, first, _ = take_frames(it)
    assert (reply["rooms"], offsets_by_topic(decode_cursor(reply["cursor"]))["orders"][0]) == (
        ["s"],
        10,
    )
    assert first["at"] == "orders:0:11"


def test_a_topic_is_followed_from_the_subscribe_on() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), topic="news")
    it = resumed_session(to, cursor_at(10, 20))
    at.subscribe(it, ["news"], [])
    at.reply_ok(it, 1)
    publish(at, event(11, all=True), topic="news")
    to.advance(it)
    reply, first, live = take_frames(it)
    assert offsets_by_topic(decode_cursor(reply["cursor"]))["news"] == {0: 11, 1: 20}
    assert first["at"] == "news:0:11"
    assert offsets_by_topic(decode_cursor(live["cursor"])) == {
        "news": {0: 12, 1: 20},
        "orders": {0: 10, 1: 20},
    }


def test_one_that_comes_back_to_a_topic_has_left_what_it_missed_of_it() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    it = resumed_session(to, cursor_at(10, 20))
    at.unsubscribe(it, ["orders"], [])
    assert cursor_offsets(at, it) == {}
    at.subscribe(it, ["orders"], [])
    assert cursor_offsets(at, it) == {"orders": {0: 11, 1: 20}}
    assert to.advance(it) is NextStep.DONE
    assert [each["op"] for each in take_frames(it)] == ["live"]


def test_without_any_topic_there_is_nothing_to_catch_up_with() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 3))
    at.unsubscribe(it, ["orders"], [])
    assert to.advance(it) is NextStep.DONE


# -- going -----------------------------------------------------------------------------------------


def test_one_that_is_hung_up_on_is_told_the_cursor_of_what_it_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "MAX_STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in range(10, 20)))
    it = resumed_session(to, cursor_at(10, 20))
    to.advance(it)
    at.close(it, close_codes.DRAINING)
    *_, closing = take_frames(it)
    assert offsets_by_topic(decode_cursor(closing["cursor"])) == {"orders": {0: 12, 1: 20}}
    assert to.advance(it) is NextStep.DONE
    assert to.missing_ranges(it) == {}
    assert to.check_bounds(it, {})
    assert (take_frames(it), at.replaying, it.state) == ([], set(), SessionState.CLOSING)


def test_one_that_is_gone_is_forgotten() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(3, 3))
    at.detach(it)
    assert to.advance(it) is NextStep.DONE
    assert (at.replaying, it.state) == (set(), SessionState.CLOSED)
