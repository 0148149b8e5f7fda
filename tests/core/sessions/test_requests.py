"""Contract 3.2: what a client may say, what it is answered, and when it has said too much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import decode_cursor, encode_cursor
from bridge.core.protocol.frames import TokenUpdate
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.core.sessions.requests import (
    MAX_TOKENS_PER_MINUTE,
    ClientRequests,
    FrameAllowance,
    RequestLimits,
)
from bridge.core.sessions.session import MembershipSource, SessionState
from tests.core.factories import (
    CURSOR_TIME,
    attached_session,
    catch_up,
    cursor_at,
    event,
    hub,
    jitter,
    offsets_by_topic,
    publish,
    resumed_session,
    take_frames,
)
from tests.core.strategies import client_frames

BOUNDS = RequestLimits(max_rooms=3, max_topics=2, max_changes_per_minute=300)
GRANT = Permissions(
    "ann", topics=NamePatterns(["orders", "news"]), rooms=NamePatterns(["r:**", "s"])
)


class Client:
    """One side of a dialogue."""

    def __init__(
        self,
        bounds: RequestLimits = BOUNDS,
        private_by_topic: dict[str, bool] | None = None,
        **asked: Any,
    ) -> None:
        self.hub = hub(**private_by_topic or {})
        self.session = attached_session(self.hub, **{"grant": GRANT, **asked})
        self.allowance = FrameAllowance(200)
        self.dialogue = ClientRequests(self.hub, self.session, bounds, self.allowance)

    def say(
        self, now: float = 0.0, stale: float | None = None, **frame: Any
    ) -> list[dict[str, Any]]:
        """Send a frame; return the answers."""
        return self.send(json.dumps(frame).encode(), now, stale)

    def send(
        self, text: bytes, now: float = 0.0, stale: float | None = None
    ) -> list[dict[str, Any]]:
        assert self.dialogue.handle(text, now, stale) is None
        return take_frames(self.session)

    def refused(self, now: float = 0.0, **frame: Any) -> str:
        """Send a frame that has no effect; return the error."""
        before = (self.session.topics, dict(self.session.rooms))
        (reply,) = self.say(now, id="x", **frame)
        assert set(reply) == {"op", "id", "ok", "error", "reason"}
        assert (reply["op"], reply["id"], reply["ok"]) == ("reply", "x", False)
        assert reply["reason"]
        assert before == (self.session.topics, self.session.rooms)
        error: str = reply["error"]
        return error


# -- each request is answered ----------------------------------------------------------------------


def test_a_subscribe_is_answered_with_what_results() -> None:
    client = Client(rooms=["s"])
    (reply,) = client.say(op="subscribe", topics=["news"], rooms=["r:1"], id=7)
    assert offsets_by_topic(decode_cursor(reply.pop("cursor"))).keys() == {"news", "orders"}
    assert reply == {
        "op": "reply",
        "ok": True,
        "id": 7,
        "topics": ["news", "orders"],
        "rooms": ["r:1", "s"],
    }
    publish(client.hub, event(10, rooms=["r:1"]), topic="news")
    assert [each["to"] for each in take_frames(client.session)] == ["room:r:1"]


def test_an_unsubscribe_is_answered_with_what_is_left() -> None:
    client = Client(
        rooms={"s": MembershipSource.OWN, "r:1": MembershipSource.OWN | MembershipSource.ACCOUNT}
    )
    (reply,) = client.say(op="unsubscribe", topics=["orders", "audit"], rooms=["s", "r:1", "x"])
    assert (reply["ok"], reply["topics"], reply["rooms"]) == (True, [], ["r:1"])
    assert "id" not in reply


def test_an_unsubscribe_of_rooms_that_other_hands_hold_is_ok_and_names_them_as_kept() -> None:
    both = MembershipSource.OWN | MembershipSource.ACCOUNT
    client = Client(rooms={"s": both, "r:1": MembershipSource.CONNECTION, "r:2": both})
    (reply,) = client.say(op="unsubscribe", rooms=["s", "r:1", "s", "x"])
    assert (reply["ok"], reply["rooms"], reply["kept"]) == (True, ["r:1", "r:2", "s"], ["r:1", "s"])
    (reply,) = client.say(op="unsubscribe", topics=["orders"])
    assert "kept" not in reply
    (reply,) = client.say(op="subscribe", rooms=["s"])
    assert "kept" not in reply


OPEN = Permissions("ann", may_read_all_private=True)


def test_with_authentication_off_an_unknown_topic_is_told_with_those_that_there_are() -> None:
    (reply,) = Client(grant=OPEN).say(op="subscribe", topics=["ordres"], id=1)
    assert (reply["ok"], reply["error"], reply["id"]) == (False, "forbidden", 1)
    assert reply["reason"] == "there is no topic 'ordres' here; there are: orders, news"


def test_an_unknown_topic_is_told_with_the_ten_nearest_and_no_private_one() -> None:
    topics = {f"t{number}{end}": end == "x" for number in range(30) for end in ("", "x")}
    client = Client(private_by_topic=topics, grant=OPEN, topics=())
    (reply,) = client.say(op="subscribe", topics=["t7x"])
    assert reply["ok"] is True, "a private topic can be followed with authentication off"
    (reply,) = client.say(op="subscribe", topics=["t77"])
    names = reply["reason"].partition("; there are: ")[2].split(", ")
    assert len(names) == 10
    assert names[0] == "t7"
    assert not any(name.endswith("x") for name in names)


def test_a_token_learns_of_no_topic_by_naming_one() -> None:
    (reply,) = Client().say(op="subscribe", topics=["ordres"])
    assert reply["reason"] == "the grant does not cover the topic 'ordres'"


def test_a_heartbeat_is_answered_by_one_with_its_id() -> None:
    client = Client()
    (beat,) = client.say(op="heartbeat", id="x", stale=3.5)
    assert (beat["op"], beat["id"], beat["stale"]) == ("heartbeat", "x", 3.5)
    assert decode_cursor(beat["cursor"])
    (beat,) = client.say(op="heartbeat")
    assert set(beat) == {"op", "cursor"}


def test_a_token_is_handed_to_the_bank_because_only_it_can_judge() -> None:
    client = Client()
    token = client.dialogue.handle(b'{"op":"token","token":"t","id":7}', 0.0, None)
    assert token == TokenUpdate("t", 7)
    assert take_frames(client.session) == []


def test_one_that_is_still_caught_up_is_answered_alike() -> None:
    at = hub()
    it = resumed_session(catch_up(at), cursor_at(3, 20), grant=GRANT)
    dialogue = ClientRequests(at, it, BOUNDS, FrameAllowance(200))
    for said in (b'{"op":"subscribe","rooms":["s"],"id":1}', b'{"op":"heartbeat","id":2}', b"?"):
        dialogue.handle(said, 0.0, None)
    done, beat, refused = take_frames(it)
    assert (done["ok"], done["rooms"], beat["id"], refused["error"]) == (
        True,
        ["s"],
        2,
        "bad_frame",
    )
    assert done["cursor"] == beat["cursor"] == encode_cursor(cursor_at(3, 20), CURSOR_TIME)
    for number in range(20):
        dialogue.handle(b"?", float(number), None)
    assert it.close_code == close_codes.MISBEHAVING


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        *({"topics": ["audit"]}, {"topics": ["nowhere"]}, {"topics": ["news", "audit"]}),
        *({"rooms": ["x"]}, {"rooms": ["r"]}, {"rooms": ["s", "x"]}, {"topics": ["a:b"]}),
        {"topics": ["news"], "rooms": ["x"]},
    ],
)
def test_what_the_grant_does_not_cover_refuses_the_whole_request(asked: dict[str, Any]) -> None:
    assert Client().refused(op="subscribe", **asked) == "forbidden"


@pytest.mark.parametrize("field", ["topics", "rooms"])
@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("name", ["", "a,b", "r:*", "x" * 201])
def test_what_can_be_no_name_is_a_bad_frame(op: str, field: str, name: str) -> None:
    asked: dict[str, Any] = {"op": op, field: ["s", name]}
    assert Client().refused(**asked) == "bad_frame"


def test_no_more_rooms_and_topics_than_allowed() -> None:
    client = Client(RequestLimits(2, 2, 300), grant=Permissions("ann"), rooms=["a"])
    assert client.refused(op="subscribe", rooms=["b", "c"]) == "limit"
    assert client.say(op="subscribe", rooms=["a", "b", "b"])[0]["ok"]
    assert client.refused(op="subscribe", rooms=["c"]) == "limit"
    assert client.say(op="subscribe", topics=["orders", "news"])[0]["ok"]
    client = Client(RequestLimits(2, 1, 300), grant=Permissions("ann"))
    assert client.refused(op="subscribe", topics=["news"]) == "limit"


def test_no_more_changes_in_a_minute_than_allowed() -> None:
    client = Client(RequestLimits(9, 9, 2))
    assert client.say(10.0, op="subscribe", rooms=["s"])[0]["ok"]
    assert client.say(69.9, op="unsubscribe", rooms=["s"])[0]["ok"]
    assert client.refused(69.9, op="subscribe", rooms=["s"]) == "limit"
    assert client.refused(69.9, op="unsubscribe", rooms=["s"]) == "limit"
    assert client.say(69.9, op="heartbeat")[0]["op"] == "heartbeat"
    assert client.say(70.0, op="subscribe", rooms=["s"])[0]["ok"]


def test_no_more_tokens_are_judged_in_a_minute_than_their_signatures_are_worth() -> None:
    client = Client()
    for _ in range(MAX_TOKENS_PER_MINUTE):
        assert client.dialogue.handle(b'{"op":"token","token":"t"}', 0.0, None)
    assert client.refused(59.9, op="token", token="t") == "limit"
    assert client.dialogue.handle(b'{"op":"token","token":"t"}', 60.0, None)
    assert client.session.state is SessionState.LIVE


# -- one frame too many ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"?", b'{"op":"nope"}', b'{"op":"subscribe","rooms":["*"]}'])
def test_more_than_twenty_bad_frames_in_a_minute_close(text: bytes) -> None:
    client = Client()
    for number in range(20):
        (reply,) = client.send(text, float(number))
        assert reply["error"] == "bad_frame"
        assert client.session.state is SessionState.LIVE
    reply, closing = client.send(text, 59.9)
    assert reply["error"] == "bad_frame"
    assert (closing["op"], closing["code"], closing["reconnect"]) == ("closing", 4502, False)
    assert closing["retry_after"] == jitter(0.0)
    assert client.session.close_code == close_codes.MISBEHAVING


def test_twenty_in_each_minute_are_borne() -> None:
    client = Client()
    for number in range(20):
        client.send(b"?", float(number))
    for number in range(20):
        client.send(b"?", 60.0 + number)
    assert client.session.state is SessionState.LIVE


def test_only_bad_frames_count() -> None:
    client = Client(RequestLimits(0, 9, 9999))
    for _ in range(30):
        assert client.refused(op="subscribe", rooms=["x"]) == "forbidden"
        assert client.refused(op="subscribe", rooms=["s"]) == "limit"
    assert client.session.state is SessionState.LIVE


def test_a_bad_frame_keeps_its_id() -> None:
    assert Client().refused(op="nope") == "bad_frame"


@pytest.mark.parametrize("text", [b'{"op":"heartbeat"}', b'{"op":"subscribe","rooms":["s"]}', b"?"])
def test_nothing_is_said_after_the_closing_frame(text: bytes) -> None:
    client = Client()
    client.hub.close(client.session, close_codes.DRAINING)
    assert [each["op"] for each in client.send(text)] == ["closing"]
    assert client.send(text) == []
    client.dialogue.reject_frame("a frame of bytes", 5, 0.0)
    assert take_frames(client.session) == []
    assert client.session.rooms == {}


@given(client_frames)
def test_whatever_a_client_sends_it_is_answered_once_or_it_is_a_token(text: bytes) -> None:
    client = Client()
    token = client.dialogue.handle(text, 0.0, None)
    answers = take_frames(client.session)
    assert (token is None) == (len(answers) == 1)
    assert client.session.state is SessionState.LIVE
    assert all(answer["op"] in {"reply", "heartbeat"} for answer in answers)


def test_frames_beyond_the_allowance_have_to_wait_and_a_burst_is_five_seconds_worth():
    allowance = FrameAllowance(200)
    for _ in range(1000):
        assert allowance.wait_seconds(100.0) == pytest.approx(0, abs=1e-6)
        allowance.count(100.0)
    allowance.count(100.0)
    assert allowance.wait_seconds(100.0) == pytest.approx(1 / 200)
    assert allowance.wait_seconds(100.01) == 0
    assert allowance.wait_seconds(105.0) == 0


def test_an_allowance_that_was_not_used_does_not_grow_beyond_a_burst():
    allowance = FrameAllowance(10)
    allowance.count(0.0)
    allowance.count(1e6, 51)
    assert allowance.wait_seconds(1e6) == pytest.approx(0.1)


@pytest.mark.parametrize(("names", "frames"), [(0, 0), (1, 0), (10, 0), (20, 1), (200, 19)])
@pytest.mark.parametrize("op", ["subscribe", "unsubscribe"])
def test_ten_names_of_a_frame_count_as_a_frame_though_it_is_refused(op, names, frames):
    client = Client(RequestLimits(max_rooms=1, max_topics=1, max_changes_per_minute=0))
    client.say(10.0, op=op, rooms=[f"r:{n}" for n in range(names)])
    assert client.allowance.wait_seconds(10.0 - 5.0) == pytest.approx(frames / 200)
