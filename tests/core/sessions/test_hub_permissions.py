"""Contract, Appendix A: a newer token of the same account; a narrower one takes effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.cursor import Place, read_cursor
from bridge.core.sessions.hub import regrant
from bridge.core.sessions.permissions import Grant, Pattern
from bridge.core.sessions.session import Hand
from tests.core.given import (
    LIFE,
    attached,
    catch_up,
    event,
    frames,
    hub,
    offsets,
    publish,
    returned,
    standing,
)

if TYPE_CHECKING:
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

WIDE = Grant("ann", topics=Pattern(["orders", "news", "audit"]), rooms=Pattern(["r", "s"]))


def connected() -> tuple[Hub, Session]:
    at = hub()
    rooms = {"r": Hand.OWN, "s": Hand.OWN | Hand.ACCOUNT, "t": Hand.CONNECTION}
    return at, attached(at, grant=WIDE, topics=["orders", "audit"], rooms=rooms)


def test_a_grant_that_covers_as_much_changes_nothing_but_the_grant() -> None:
    at, it = connected()
    newer = WIDE._replace(expires=1.0)
    regrant(at, it, newer, "x")
    (reply,) = frames(it)
    assert (reply["id"], reply["ok"]) == ("x", True)
    assert (reply["topics"], reply["rooms"]) == (["audit", "orders"], ["r", "s", "t"])
    assert it.grant is newer


def test_topics_that_it_does_not_cover_end_at_once_and_the_reply_has_what_is_left() -> None:
    at, it = connected()
    regrant(at, it, WIDE._replace(topics=Pattern(["orders", "*"])), 1)
    (reply,) = frames(it)
    assert reply["topics"] == ["orders"]
    assert offsets(read_cursor(reply["cursor"])).keys() == {"orders"}
    publish(at, event(10, all=True), topic="audit")
    assert frames(it) == []


def test_rooms_that_it_does_not_cover_are_told_and_the_backends_stay() -> None:
    at, it = connected()
    regrant(at, it, WIDE._replace(rooms=Pattern([])), 1)
    moved, reply = frames(it)
    assert read_cursor(moved.pop("cursor"))
    assert moved == {"op": "rooms", "joined": [], "left": ["r"]}
    assert (reply["id"], reply["rooms"]) == (1, ["s", "t"])
    assert it.rooms == {"s": Hand.ACCOUNT, "t": Hand.CONNECTION}
    publish(at, *(event(10 + n, rooms=[room]) for n, room in enumerate(["r", "s", "t"])))
    assert [each["to"] for each in frames(it)] == ["room:s", "room:t"]


@pytest.mark.parametrize("wider", [{"topics": None}, {"rooms": None}])
def test_what_it_covers_more_has_to_be_asked_for(wider: dict[str, Any]) -> None:
    at = hub()
    it = attached(at, grant=Grant("ann", topics=Pattern(["orders"]), rooms=Pattern([])))
    regrant(at, it, it.grant._replace(**wider), 1)
    (reply,) = frames(it)
    assert (reply["topics"], reply["rooms"]) == (["orders"], [])


def test_one_that_is_still_caught_up_is_replayed_what_it_may_read_from_now_on() -> None:
    at = hub()
    to = catch_up(at)
    for topic in ("orders", "audit"):
        publish(at, event(10, rooms=["r"]), event(11, rooms=["s"]), topic=topic)
    cursor = {**standing(10, 20), "audit": Place(LIFE, {0: 10, 1: 20})}
    it = returned(to, cursor, grant=WIDE, topics=["orders", "audit"], rooms=["r", "s"])
    regrant(at, it, WIDE._replace(topics=Pattern(["audit"]), rooms=Pattern(["s"])), 1)
    to.step(it)
    moved, reply, only, live = frames(it)
    assert (moved["left"], reply["topics"], reply["rooms"]) == (["r"], ["audit"], ["s"])
    assert read_cursor(reply["cursor"]) == {"audit": cursor["audit"]}
    assert (only["at"], live["replayed"]) == ("audit:0:11", 1)
