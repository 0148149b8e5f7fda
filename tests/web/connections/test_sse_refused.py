"""Who gets no event stream: HTTP says why, and a browser's `EventSource` is not lost by it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.protocol import close_codes
from bridge.core.sessions.requests import Bounds
from bridge.web.auth.authenticator import OpenGate
from bridge.web.auth.client_address import Proxies
from bridge.web.auth.origins import LOOPBACK_HOSTS, Doors
from tests.web.listening import Listener, ask, asked, listen, opened, refused
from tests.web.refusing import MISTAKES
from tests.web.rig import HOST, until
from tests.web.rig import opened as bridge_opened
from tests.web.signing import shared_gate, signed

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig
    from tests.web.raw import Answer
    from tests.web.rig import Rig

OTHER = "https://other.example"
#: What Chromium, Firefox and Safari send with an `EventSource`.
EVENT_SOURCE = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"}


def detail(answer: Answer) -> str:
    told: str = json.loads(answer.body)["detail"]
    return told


# -- 400 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nonsense=1", "nonsense"),
        ("hello=1", "hello"),
        ("topics=", "topics"),
        ("types", "types"),
        ("rooms=a&rooms=b", "rooms"),
        ("rooms=a*", "rooms"),
        ("types=*.x", "types"),
        ("cursor=garbled", "cursor"),
        ("since=yesterday", "since"),
        ("since=2026-11-21T09:00:00Z&cursor=AQ", "since"),
        ("rooms=%ff", "query"),
    ],
)
async def test_a_bad_request_is_a_400_that_names_the_parameter(rig, query, named):
    assert named in detail(await refused(rig, 400, query))


async def test_more_names_than_allowed_are_a_400(open_rig: OpenRig):
    rig = await open_rig(bounds=Bounds(rooms=2, topics=1, changes_per_minute=9))
    assert "ROOMS" in detail(await refused(rig, 400, "rooms=a,b,c"))
    assert "TOPICS" in detail(await refused(rig, 400, "topics=a,b"))


async def test_account_is_a_400_where_tokens_are_asked_for(open_rig: OpenRig):
    rig = await open_rig(gate=shared_gate())
    assert "account" in detail(await refused(rig, 400, "account=alice"))


async def test_a_garbled_last_event_id_is_a_400(rig):
    assert "cursor" in detail(await refused(rig, 400, Last_Event_ID="garbled"))
    assert "cursor" in detail(await refused(rig, 400, Last_Event_ID="\xe9"))


anything = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40)
queries = st.dictionaries(
    st.sampled_from(["topics", "rooms", "types", "cursor", "since", "account", "hello", "x"]),
    st.one_of(anything, st.sampled_from(["orders", "audit", "r", "order.*"])),
    max_size=3,
).map(urlencode)


@settings(max_examples=60)
@given(queries | anything.map(quote), anything)
async def test_whatever_is_asked_is_a_stream_or_a_problem(query, last):
    async with bridge_opened() as rig:
        answer = await ask(rig, query, Last_Event_ID=last)
        assert answer.status in {200, 204, 400, 403}
        kinds = {200: "text/event-stream", 204: None}
        kind = kinds.get(answer.status, "application/problem+json")
        assert answer.headers.get("content-type") == kind


# -- 401 and 403 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", ["none at all", "another key", "expired", "alg none", "no sub"])
async def test_who_is_nobody_gets_a_401_that_says_what_is_wrong(open_rig: OpenRig, mistake: str):
    rig = await open_rig(gate=shared_gate())
    token, said = MISTAKES[mistake]
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answers = [await refused(rig, 401, **headers)]
    answers += [await refused(rig, 401, f"token={token}")] if token else []
    for answer in answers:
        assert said in detail(answer)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert rig.entrance.closes == {4500: len(answers)}


@pytest.mark.parametrize("query", ["topics=audit,nothing", "topics=nothing", "rooms=r"])
async def test_what_the_grant_does_not_cover_is_a_403(open_rig: OpenRig, query: str):
    rig = await open_rig(gate=shared_gate())
    answer = await refused(rig, 403, query, Authorization=f"Bearer {signed()}")
    assert "grant" in detail(answer)
    assert rig.entrance.closes == {4501: 1}


async def test_another_sites_page_gets_a_403(rig):
    answer = await refused(rig, 403, Origin=OTHER)
    assert "BRIDGE_ALLOWED_ORIGINS" in detail(answer)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_the_same_origin_is_let_in(rig):
    listener = await listen(rig, headers={"Origin": rig.http})
    assert listener.head.headers["access-control-allow-origin"] == rig.http


async def test_by_another_name_of_this_machine_it_is_a_403(open_rig: OpenRig):
    rig = await open_rig(doors=Doors(hosts=LOOPBACK_HOSTS))
    assert (await ask(rig, Host="evil.example")).status == 403
    await listen(rig, headers={"Host": "localhost"})


# -- 503 -------------------------------------------------------------------------------------------


async def later(rig: Rig, code: int, query: str = "") -> None:
    """Check that a client is asked to come back later, whatever it is."""
    before = rig.entrance.closes[code]
    answer = await refused(rig, 503, query)
    assert int(answer.headers["retry-after"]) >= 1
    stream = await opened(rig, query, EVENT_SOURCE)
    assert stream.head.headers["content-type"] == "text/event-stream"
    await stream.raw.rest()
    assert rig.entrance.closes[code] == before + 2
    assert rig.entrance.count == len(rig.sockets)


async def test_before_an_instance_was_ever_ready_it_is_a_503(rig):
    rig.upstream.is_ready = False
    await later(rig, 4006)
    rig.upstream.is_ready = True
    await listen(rig)


async def test_one_connection_more_than_allowed_is_a_503(open_rig: OpenRig):
    rig = await open_rig(connections=2)
    first = await listen(rig)
    await rig.join()
    await later(rig, 4006)
    first.raw.abort()
    await until(lambda: rig.entrance.count == 1)
    await listen(rig)


async def test_one_connection_of_an_account_or_address_more_than_allowed_is_a_503(
    open_rig: OpenRig,
):
    rig = await open_rig(per_account=1, per_address=2, proxies=Proxies([HOST]))
    await listen(rig, "account=alice")
    await later(rig, 4006, "account=alice")
    await rig.join("account=bob")
    await later(rig, 4006, "account=carol")
    await listen(rig, "account=carol", {"X-Forwarded-For": "198.51.100.1"})


async def test_more_at_once_than_allowed_is_a_503(open_rig: OpenRig):
    rig = await open_rig(handshakes_per_second=1)
    await listen(rig)
    answer = await refused(rig, 503)
    assert "too many clients" in detail(answer)


async def test_too_stale_is_a_503_and_ends_those_who_are_there(open_rig: OpenRig):
    rig = await open_rig(stale=30.0)
    listener = await listen(rig)
    rig.upstream.stale_for = 31.0
    assert (await listener.ended_with(4004))["reconnect"] is True
    await until(lambda: rig.entrance.count == 0)
    await later(rig, 4004)


async def test_while_it_drains_it_is_a_503(open_rig: OpenRig):
    rig = await open_rig(close_seconds=3600.0)
    stubborn = await rig.open_raw()
    rig.server.should_exit = True
    assert (await stubborn.end())[0] == 4001
    await later(rig, 4001)


@pytest.mark.parametrize("missing", EVENT_SOURCE)
async def test_who_is_no_browser_or_asks_for_no_event_source_reads_the_503(rig, missing):
    rig.upstream.is_ready = False
    headers = {name.replace("-", "_"): value for name, value in EVENT_SOURCE.items()}
    del headers[missing.replace("-", "_")]
    await refused(rig, 503, **headers)


async def test_a_browser_is_told_on_a_stream_when_to_come_back(rig):
    rig.upstream.is_ready = False
    raw = await rig.dial()
    answer = await asked(raw, headers=EVENT_SOURCE)
    assert answer.status == 200
    stream = Listener(raw, answer)
    stream.stream.feed(answer.body)
    (event,) = stream.stream.dispatched
    closing = json.loads(event.data)
    assert (event.type, closing["code"], closing["reconnect"]) == ("closing", 4006, True)
    assert stream.stream.reconnection_ms == closing["retry_after"] * 1000 > 0
    assert stream.id == "", "what it would come back with is still what it has"


# -- 204 -------------------------------------------------------------------------------------------


async def test_who_was_closed_for_good_and_comes_back_by_itself_gets_a_204(rig):
    listener = await listen(rig, "account=alice")
    (session,) = rig.hub.interest.accounts["alice"]
    rig.hub.hang_up(session, close_codes.DISCONNECTED)
    rig.sockets.flush()
    closing = await listener.ended_with(4504)
    assert closing["reconnect"] is False
    assert closing["cursor"], "for one who is asked back by other means"
    answer = await ask(rig, "account=alice", Last_Event_ID=listener.id, Origin=rig.http)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == rig.http
    assert rig.entrance.count == 0
    await listen(rig, f"account=alice&cursor={closing['cursor']}")


# -- waiting for a key -----------------------------------------------------------------------------


class SlowGate(OpenGate):
    """Needs something before it can judge."""

    def __init__(self) -> None:
        self.asked = 0
        self.found = asyncio.Event()

    async def _look(self) -> None:
        await self.found.wait()

    def missing(self, token: str | None) -> Any:  # noqa: ARG002 - any
        self.asked += 1
        return self._look()


async def test_who_has_to_be_looked_up_is_let_in_afterwards(open_rig: OpenRig):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    opening = asyncio.create_task(listen(rig, "account=alice"))
    await until(lambda: gate.asked)
    assert rig.entrance.count == 0
    gate.found.set()
    assert (await opening).welcome["account"] == "alice"


async def test_who_leaves_while_it_is_looked_up_is_forgotten(open_rig: OpenRig):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    raw = await rig.dial()
    raw.send(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
    await until(lambda: gate.asked)
    raw.abort()
    await until(lambda: not rig.server.server_state.tasks)
    gate.found.set()
    assert (rig.entrance.count, rig.entrance.closes) == (0, {})


async def test_a_drain_does_not_wait_for_who_is_looked_up(open_rig: OpenRig):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    asking = asyncio.create_task(ask(rig))
    await until(lambda: gate.asked)
    rig.server.should_exit = True
    assert (await asking).status == 503
    await until(rig.serving.done)
