"""Contract, Appendix A: a newer token of the same account; a narrower one takes effect at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.core.sessions.session import MembershipSource
from tests.core.factories import (
    TOPIC_ID,
    attached_session,
    catch_up,
    cursor_at,
    event,
    hub,
    offsets_by_topic,
    publish,
    resumed_session,
    take_frames,
)

if TYPE_CHECKING:
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

WIDE = Permissions(
    "ann", topics=NamePatterns(["orders", "news", "audit"]), rooms=NamePatterns(["r", "s"])
)


def connected() -> tuple[Hub, Session]:
    at = hub()
    rooms = {
        "r": MembershipSource.OWN,
        "s": MembershipSource.OWN | MembershipSource.ACCOUNT,
        "t": MembershipSource.CONNECTION,
    }
    return at, attached_session(at, grant=WIDE, topics=["orders", "audit"], rooms=rooms)


def test_a_grant_that_covers_as_much_changes_nothing_but_the_grant() -> None:
    at, it = connected()
    newer = WIDE._replace(expires_at=1.0)
    at.replace_permissions(it, newer, "x")
    (reply,) = take_frames(it)
    assert (reply["id"], reply["ok"]) == ("x", True)
    assert (reply["topics"], reply["rooms"]) == (["audit", "orders"], ["r", "s", "t"])
    assert it.permissions is newer


def test_topics_that_it_does_not_cover_end_at_once_and_the_reply_has_what_is_left() -> None:
    at, it = connected()
    at.replace_permissions(it, WIDE._replace(topics=NamePatterns(["orders", "*"])), 1)
    (reply,) = take_frames(it)
    assert reply["topics"] == ["orders"]
    assert offsets_by_topic(decode_cursor(reply["cursor"])).keys() == {"orders"}
    publish(at, event(10, all=True), topic="audit")
    assert take_frames(it) == []


def test_rooms_that_it_does_not_cover_are_told_and_the_backends_stay() -> None:
    at, it = connected()
    at.replace_permissions(it, WIDE._replace(rooms=NamePatterns([])), 1)
    moved, reply = take_frames(it)
    assert decode_cursor(moved.pop("cursor"))
    assert moved == {"op": "rooms", "joined": [], "left": ["r"]}
    assert (reply["id"], reply["rooms"]) == (1, ["s", "t"])
    assert it.rooms == {"s": MembershipSource.ACCOUNT, "t": MembershipSource.CONNECTION}
    publish(at, *(event(10 + n, rooms=[room]) for n, room in enumerate(["r", "s", "t"])))
    assert [each["to"] for each in take_frames(it)] == ["room:s", "room:t"]


@pytest.mark.parametrize("wider", [{"topics": None}, {"rooms": None}])
def test_what_it_covers_more_has_to_be_asked_for(wider: dict[str, Any]) -> None:
    at = hub()
    it = attached_session(
        at, grant=Permissions("ann", topics=NamePatterns(["orders"]), rooms=NamePatterns([]))
    )
    at.replace_permissions(it, it.permissions._replace(**wider), 1)
    (reply,) = take_frames(it)
    assert (reply["topics"], reply["rooms"]) == (["orders"], [])


def test_one_that_is_still_caught_up_is_replayed_what_it_may_read_from_now_on() -> None:
    at = hub()
    to = catch_up(at)
    for topic in ("orders", "audit"):
        publish(at, event(10, rooms=["r"]), event(11, rooms=["s"]), topic=topic)
    cursor = {**cursor_at(10, 20), "audit": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})}
    it = resumed_session(to, cursor, grant=WIDE, topics=["orders", "audit"], rooms=["r", "s"])
    at.replace_permissions(
        it, WIDE._replace(topics=NamePatterns(["audit"]), rooms=NamePatterns(["s"])), 1
    )
    to.advance(it)
    moved, reply, only, live = take_frames(it)
    assert (moved["left"], reply["topics"], reply["rooms"]) == (["r"], ["audit"], ["s"])
    assert decode_cursor(reply["cursor"]) == {"audit": cursor["audit"]}
    assert (only["at"], live["replayed"]) == ("audit:0:11", 1)
