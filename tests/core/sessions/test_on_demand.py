"""Topics that are read on demand: who follows one is told so once it is awake, and not before."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import decode_cursor
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.on_demand import MAX_PENDING_REPLIES
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.core.sessions.requests import ClientRequests, FrameAllowance, RequestLimits
from tests.core.factories import (
    CURSOR_TIME,
    OTHER_TOPIC_ID,
    TOPIC_ID,
    catch_up,
    cursor_at,
    event,
    jitter,
    publish,
    resumed_session,
    session,
    take_frames,
)

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session

TOPICS = ("orders", "rare", "seldom")
WOKEN = {0: 50, 1: 60}


class World:
    """A hub of `orders`, and of `rare` and `seldom` on demand; who was called is written down."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.hub = Hub(
            "i1",
            dict.fromkeys(TOPICS, False),
            heartbeat_seconds=25.0,
            max_outbox_bytes=1 << 20,
            jitter=jitter,
            wall_clock=lambda: CURSOR_TIME,
            on_demand_topics=TOPICS[1:],
            on_first_subscriber=self.called.append,
        )
        self.hub.set_start_offsets("orders", TOPIC_ID, {0: 10, 1: 20})

    def client(self, id: str = "c1", grant: Permissions | None = None, **bounds: int) -> Client:
        made = session(id, grant=grant or Permissions("ann"))
        self.hub.on_demand.add_admitted(made)
        self.hub.attach(made)
        take_frames(made)
        return Client(self.hub, made, **bounds)

    def wake(self, topic: str = "rare", **at: Any) -> None:
        self.hub.set_start_offsets(topic, at.get("identity", TOPIC_ID), at.get("offsets", WOKEN))

    def followed(self) -> list[str]:
        return [topic for topic in TOPICS[1:] if self.hub.on_demand.has_subscribers(topic)]


class Client:
    """One that is live, and follows `orders`."""

    def __init__(self, hub: Hub, session: Session, **bounds: int) -> None:
        self.session = session
        self._dialogue = ClientRequests(
            hub,
            session,
            RequestLimits(
                **{"max_rooms": 9, "max_topics": 9, "max_changes_per_minute": 300, **bounds}
            ),
            FrameAllowance(200),
        )

    def say(self, op: str, *topics: str, **more: Any) -> list[dict[str, Any]]:
        said = {"op": op, "topics": topics, **more} if topics else {"op": op, **more}
        self._dialogue.handle(json.dumps(said).encode(), 0.0, None)
        return self.heard()

    def heard(self) -> list[dict[str, Any]]:
        return take_frames(self.session)


@pytest.fixture
def at() -> World:
    return World()


def names(frame: dict[str, Any]) -> dict[str, dict[int, int]]:
    """Where the cursor of `frame` is."""
    return {topic: dict(place.offsets) for topic, place in decode_cursor(frame["cursor"]).items()}


# -- subscribing -----------------------------------------------------------------------------------


def test_a_subscribe_to_a_topic_that_is_asleep_is_answered_when_it_wakes(at: World) -> None:
    client = at.client()
    assert client.say("subscribe", "rare", rooms=["r"], id=1) == []
    assert at.called == ["rare"]
    (beat,) = client.say("heartbeat")
    assert names(beat).keys() == {"orders"}, "nothing is promised of it yet"
    at.wake()
    (reply,) = client.heard()
    assert (reply["id"], reply["topics"], reply["rooms"]) == (1, ["orders", "rare"], ["r"])
    assert names(reply)["rare"] == WOKEN
    publish(at.hub, event(50, all=True), topic="rare")
    assert [each["at"] for each in client.heard()] == ["rare:0:50"]


def test_a_topic_that_is_awake_is_answered_at_once_while_another_one_wakes(at: World) -> None:
    at.wake("seldom")
    client = at.client()
    assert client.say("subscribe", "rare", id=1) == []
    (reply,) = client.say("subscribe", "seldom", id=2)
    assert (reply["id"], reply["topics"]) == (2, ["orders", "seldom"])
    assert names(reply).keys() == {"orders", "seldom"}
    at.wake()
    (reply,) = client.heard()
    assert (reply["id"], reply["topics"]) == (1, ["orders", "rare", "seldom"])


def test_a_cursor_names_a_topic_before_an_event_of_it_comes(at: World) -> None:
    client = at.client()
    assert client.say("subscribe", "rare", "seldom", id=1) == []
    at.wake()
    publish(at.hub, event(50, all=True), topic="rare")
    at.wake("seldom")
    beat, came, reply = client.heard()
    assert (beat["op"], came["at"], reply["id"]) == ("heartbeat", "rare:0:50", 1)
    assert names(beat).keys() == {"orders", "rare"}
    assert names(reply).keys() == set(TOPICS)


def test_all_who_wait_are_answered_and_each_of_their_requests(at: World) -> None:
    some = [at.client(id) for id in ("c1", "c2")]
    for client in some:
        assert client.say("subscribe", "rare", id=1) == client.say("subscribe", "rare", id=2) == []
    assert at.called == ["rare"]
    at.wake()
    for client in some:
        assert [reply["id"] for reply in client.heard()] == [1, 2]
    at.wake()
    assert [client.heard() for client in some] == [[], []], "once"


def test_who_lets_go_of_a_topic_before_it_wakes_is_answered_without_it(at: World) -> None:
    client = at.client()
    assert client.say("subscribe", "rare", id=1) == []
    subscribed, unsubscribed = client.say("unsubscribe", "rare", id=2)
    assert (subscribed["id"], unsubscribed["id"]) == (1, 2)
    assert subscribed["topics"] == unsubscribed["topics"] == ["orders"]
    assert at.followed() == []
    at.wake()
    publish(at.hub, event(50, all=True), topic="rare")
    assert client.heard() == []


@pytest.mark.parametrize("how", ["hung up on", "gone"])
def test_who_goes_before_a_topic_wakes_is_told_nothing(at: World, how: str) -> None:
    client, other = at.client(), at.client("c2")
    for each in (client, other):
        each.say("subscribe", "rare", id=1)
    if how == "gone":
        at.hub.detach(client.session)
    else:
        at.hub.close(client.session, close_codes.DRAINING)
        assert [each["op"] for each in client.heard()] == ["closing"]
    at.wake()
    assert client.heard() == []
    assert [each["id"] for each in other.heard()] == [1]
    at.hub.detach(other.session)
    assert at.followed() == []


def test_a_newer_token_that_does_not_cover_it_ends_the_wait(at: World) -> None:
    client = at.client()
    client.say("subscribe", "rare", id=1)
    at.hub.replace_permissions(
        client.session, Permissions("ann", topics=NamePatterns(["orders"])), 2
    )
    assert [each["id"] for each in client.heard()] == [2]
    at.wake()
    (reply,) = client.heard()
    assert (reply["id"], reply["topics"]) == (1, ["orders"])
    publish(at.hub, event(50, all=True), topic="rare")
    assert client.heard() == []
    assert at.followed() == []


def test_topics_that_are_waited_for_count_like_others(at: World) -> None:
    client = at.client(max_topics=2)
    assert client.say("subscribe", "rare", id=1) == []
    (refused,) = client.say("subscribe", "seldom", id=2)
    assert (refused["id"], refused["error"]) == (2, "limit")
    assert at.followed() == ["rare"]


def test_no_more_replies_wait_than_may(at: World) -> None:
    client = at.client()
    for number in range(MAX_PENDING_REPLIES):
        assert client.say("subscribe", "rare", id=number) == []
    (refused,) = client.say("subscribe", "seldom", id="x")
    assert (refused["id"], refused["error"]) == ("x", "limit")
    assert at.followed() == ["rare"]
    assert client.say("subscribe", "orders", id="y")[0]["ok"]
    at.wake()
    assert [each["id"] for each in client.heard()] == list(range(MAX_PENDING_REPLIES))


def test_one_that_is_still_caught_up_gets_what_happens_from_the_reply_on() -> None:
    at = World()
    to = catch_up(at.hub)
    it = resumed_session(to, cursor_at(3, 20), grant=Permissions("ann"))
    client = Client(at.hub, it)
    assert client.say("subscribe", "rare", id=1) == []
    at.wake()
    (reply,) = client.heard()
    assert names(reply) == {"orders": {0: 3, 1: 20}, "rare": WOKEN}
    assert to.missing_ranges(it).keys() == {("orders", 0)}, "nothing of it is missing"


# -- who follows -----------------------------------------------------------------------------------


def test_one_who_was_admitted_follows_until_it_is_gone(at: World) -> None:
    coming = session("c1", topics=["rare"])
    at.hub.on_demand.add_admitted(coming)
    assert (at.called, at.followed()) == (["rare"], ["rare"])
    assert at.hub.on_demand.idle_topics(coming.topics) == {"rare"}
    at.hub.detach(coming)
    assert at.followed() == []


def test_one_who_only_looks_back_follows_nothing(at: World) -> None:
    reader = session("c1", topics=[])
    at.hub.subscribe(reader, ["rare"], [])
    assert (at.called, at.followed()) == ([], [])


def test_only_the_first_follower_calls_and_the_last_one_lets_go(at: World) -> None:
    at.wake()
    clients = [at.client(id) for id in ("c1", "c2")]
    for client in clients:
        assert client.say("subscribe", "rare")[0]["ok"]
    assert at.called == ["rare"]
    clients[0].say("unsubscribe", "rare")
    assert at.followed() == ["rare"]
    clients[1].say("unsubscribe", "rare")
    assert at.followed() == []
    clients[0].say("subscribe", "rare")
    assert at.called == ["rare", "rare"]


# -- asleep ----------------------------------------------------------------------------------------


def test_of_a_topic_that_went_to_sleep_nothing_is_left(at: World) -> None:
    at.wake()
    publish(at.hub, event(50, all=True, data=b'"kept"'), topic="rare")
    assert at.hub.journal.used_bytes > 0
    at.hub.on_demand.deactivate("rare", TOPIC_ID)
    assert at.hub.journal.used_bytes == 0
    assert (
        at.hub.topic_positions["rare"].next_offsets,
        at.hub.journal.start_offset("rare", 0),
    ) == ({}, 0)
    client = at.client()
    assert client.say("subscribe", "rare") == []
    at.wake(offsets={0: 90})
    (reply,) = client.heard()
    assert names(reply)["rare"] == {0: 90}, "nor of its former partitions"


def test_one_that_was_created_again_while_it_slept_is_no_gap_for_those_who_come(at: World) -> None:
    at.wake()
    at.hub.on_demand.deactivate("rare", TOPIC_ID)
    at.hub.on_demand.deactivate("rare", OTHER_TOPIC_ID)
    client = at.client()
    client.say("subscribe", "rare", id=1)
    at.wake(identity=OTHER_TOPIC_ID, offsets={0: 3})
    (reply,) = client.heard()
    assert (reply["op"], names(reply)["rare"]) == ("reply", {0: 3})
    assert at.hub.counters.gaps_by_reason["recreated"] == 0


def test_one_that_does_not_exist_wakes_without_partitions_and_is_named(at: World) -> None:
    client = at.client()
    client.say("subscribe", "rare", id=1)
    at.wake(identity=b"", offsets={})
    (reply,) = client.heard()
    assert names(reply)["rare"] == {}
