"""What a client and the backend may do while it is caught up, and what it is told then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import read_cursor
from bridge.core.replay import catchup
from bridge.core.sessions.session import Need, State
from tests.core.given import (
    catch_up,
    event,
    frames,
    hub,
    offsets,
    publish,
    returned,
    standing,
    stands,
)

if TYPE_CHECKING:
    import pytest

# -- subscriptions during a replay -----------------------------------------------------------------


def test_a_room_is_followed_from_the_cursor_that_the_reply_tells() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, rooms=["r"]), event(11, rooms=["s"]))
    it = returned(to, standing(10, 20), rooms=["r"])
    at.follow(it, [], ["s"])
    at.unfollow(it, [], ["r"])
    at.done(it, 1)
    to.step(it)
    reply, first, _ = frames(it)
    assert (reply["rooms"], offsets(read_cursor(reply["cursor"]))["orders"][0]) == (["s"], 10)
    assert first["at"] == "orders:0:11"


def test_a_topic_is_followed_from_the_subscribe_on() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), topic="news")
    it = returned(to, standing(10, 20))
    at.follow(it, ["news"], [])
    at.done(it, 1)
    publish(at, event(11, all=True), topic="news")
    to.step(it)
    reply, first, live = frames(it)
    assert offsets(read_cursor(reply["cursor"]))["news"] == {0: 11, 1: 20}
    assert first["at"] == "news:0:11"
    assert offsets(read_cursor(live["cursor"])) == {
        "news": {0: 12, 1: 20},
        "orders": {0: 10, 1: 20},
    }


def test_one_that_comes_back_to_a_topic_has_left_what_it_missed_of_it() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    it = returned(to, standing(10, 20))
    at.unfollow(it, ["orders"], [])
    assert stands(at, it) == {}
    at.follow(it, ["orders"], [])
    assert stands(at, it) == {"orders": {0: 11, 1: 20}}
    assert to.step(it) is Need.NOTHING
    assert [each["op"] for each in frames(it)] == ["live"]


def test_without_any_topic_there_is_nothing_to_catch_up_with() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 3))
    at.unfollow(it, ["orders"], [])
    assert to.step(it) is Need.NOTHING


# -- going -----------------------------------------------------------------------------------------


def test_one_that_is_hung_up_on_is_told_the_cursor_of_what_it_was_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in range(10, 20)))
    it = returned(to, standing(10, 20))
    to.step(it)
    at.hang_up(it, close_codes.DRAINING)
    *_, closing = frames(it)
    assert offsets(read_cursor(closing["cursor"])) == {"orders": {0: 12, 1: 20}}
    assert to.step(it) is Need.NOTHING
    assert to.missing(it) == {}
    assert to.judge(it, {})
    assert (frames(it), at.replaying, it.state) == ([], set(), State.CLOSING)


def test_one_that_is_gone_is_forgotten() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(3, 3))
    at.detach(it)
    assert to.step(it) is Need.NOTHING
    assert (at.replaying, it.state) == (set(), State.CLOSED)
