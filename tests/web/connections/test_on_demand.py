"""Clients of topics that are read on demand: welcomed when those are awake, however they come."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.protocol.cursor import Place, read_cursor, write_cursor
from tests.web.listening import ask, listen
from tests.web.rig import LIFE, until

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig

ALICE = "account=alice&topics=orders,rare"
TOPICS = {"orders": False, "rare": False}
BEFORE = write_cursor({"orders": Place(LIFE, {0: 10, 1: 20}), "rare": Place(LIFE, {0: 10, 1: 20})})


@pytest.fixture
async def rig(open_rig: OpenRig) -> Rig:
    return await open_rig(topics=TOPICS, on_demand=["rare"])


def wake(rig: Rig) -> None:
    """Do what the feed would do; then write what the hub has queued."""
    rig.hub.begin("rare", LIFE, {0: 10, 1: 20})
    rig.sockets.flush()


async def waited_for(rig: Rig) -> None:
    await until(lambda: rig.hub.demand.followed("rare"))


@pytest.mark.parametrize("cursor", [None, BEFORE], ids=["new", "back"])
@pytest.mark.parametrize("by_hello", [False, True])
async def test_a_websocket_is_welcomed_once_its_topics_are_awake(rig, by_hello, cursor):
    asked = {"account": "alice", **({"cursor": cursor} if cursor else {})}
    client = await rig.connect("hello=1" if by_hello else urlencode(asked))
    if by_hello:
        await client.say("hello", **asked)
    await waited_for(rig)
    assert rig.hub.crowd.sessions == {}
    wake(rig)
    welcome = await client.expect("welcome")
    assert welcome["topics"] == ["orders", "rare"], "who names none follows this too"
    assert read_cursor(welcome["cursor"])["rare"].offsets == {0: 10, 1: 20}
    if cursor:
        await client.expect("live")
    at = rig.publish(accounts=["alice"], topic="rare")
    assert (await client.expect("event"))["at"] == at


async def test_a_stream_is_welcomed_once_its_topics_are_awake(rig):
    raw = await rig.dial()
    raw.send(f"GET /events?{ALICE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await waited_for(rig)
    assert rig.hub.crowd.sessions == {}
    wake(rig)
    await until(lambda: rig.hub.crowd.sessions)


async def test_nobody_waits_for_what_is_awake(rig):
    wake(rig)
    rig.upstream.wait_seconds = 0
    assert (await rig.join(ALICE)).welcome["topics"] == ["orders", "rare"]
    assert (await listen(rig, ALICE)).welcome["topics"] == ["orders", "rare"]


async def test_who_follows_it_not_does_not_wait(rig):
    assert (await rig.join("account=alice&topics=orders")).welcome["topics"] == ["orders"]
    assert not rig.hub.demand.followed("rare")


async def test_where_it_does_not_wake_clients_are_asked_to_come_later(open_rig: OpenRig):
    rig = await open_rig(topics=TOPICS, on_demand=["rare"], wait_seconds=0.2)
    end = await (await rig.connect(ALICE)).end()
    assert (end.code, end.closing["reconnect"], end.closing["cursor"]) == (4006, True, None)
    answer = await ask(rig, ALICE)
    assert (answer.status, answer.headers["retry-after"] > "0") == (503, True)
    await until(lambda: rig.entrance.count == 0)
    assert rig.entrance.refused["kafka"] == 2
    assert not rig.hub.demand.followed("rare")


async def test_who_vanishes_while_it_wakes_lets_go_of_it(rig):
    client = await rig.connect(ALICE)
    await waited_for(rig)
    client.connection.transport.abort()
    wake(rig)  # a client that waits is not read from, so it is not noticed before
    await until(lambda: not rig.hub.demand.followed("rare"))
    assert rig.hub.crowd.sessions == {}


async def test_a_subscribe_is_answered_once_it_is_awake(rig):
    client = await rig.join("account=alice&topics=orders")
    await client.say("subscribe", topics=["rare"], id=1)
    await client.say("heartbeat", id=2)
    assert (await client.expect("heartbeat"))["id"] == 2
    wake(rig)
    reply = await client.expect("reply")
    assert (reply["id"], reply["topics"]) == (1, ["orders", "rare"])
    at = rig.publish(accounts=["alice"], topic="rare")
    assert (await client.expect("event"))["at"] == at
