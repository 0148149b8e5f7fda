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
from bridge.core.sessions.requests import RequestLimits
from bridge.web.auth.authenticator import AllowAll
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy
from tests.tiers import example_count
from tests.web.authenticator_checks import INVALID_TOKENS
from tests.web.in_process_bridge import HOST, wait_until
from tests.web.in_process_bridge import running_bridge as bridge_opened
from tests.web.sse_client import (
    SseClient,
    check_refused,
    open_welcomed_stream,
    request_stream,
    request_stream_on,
)
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from bridge.core.sessions.permissions import Permissions
    from bridge.web.auth.authenticator import Credentials
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import HttpResponse

OTHER = "https://other.example"
#: What Chromium, Firefox and Safari send with an `EventSource`.
EVENT_SOURCE = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"}


def detail(answer: HttpResponse) -> str:
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
    assert named in detail(await check_refused(rig, 400, query))


async def test_more_names_than_allowed_are_a_400(open_rig: OpenBridge):
    rig = await open_rig(bounds=RequestLimits(max_rooms=2, max_topics=1, max_changes_per_minute=9))
    assert "ROOMS" in detail(await check_refused(rig, 400, "rooms=a,b,c"))
    assert "TOPICS" in detail(await check_refused(rig, 400, "topics=a,b"))


async def test_account_is_a_400_where_tokens_are_asked_for(open_rig: OpenBridge):
    rig = await open_rig(gate=shared_secret_authenticator())
    assert "account" in detail(await check_refused(rig, 400, "account=alice"))


async def test_a_garbled_last_event_id_is_a_400(rig):
    assert "cursor" in detail(await check_refused(rig, 400, Last_Event_ID="garbled"))
    assert "cursor" in detail(await check_refused(rig, 400, Last_Event_ID="\xe9"))


anything = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=40)
queries = st.dictionaries(
    st.sampled_from(["topics", "rooms", "types", "cursor", "since", "account", "hello", "x"]),
    st.one_of(anything, st.sampled_from(["orders", "audit", "r", "order.*"])),
    max_size=3,
).map(urlencode)


@settings(max_examples=example_count(60))
@given(queries | anything.map(quote), anything)
async def test_whatever_is_asked_is_a_stream_or_a_problem(query, last):
    async with bridge_opened() as rig:
        answer = await request_stream(rig, query, Last_Event_ID=last)
        assert answer.status in {200, 204, 400, 403}
        kinds = {200: "text/event-stream", 204: None}
        kind = kinds.get(answer.status, "application/problem+json")
        assert answer.headers.get("content-type") == kind


# -- 401 and 403 -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mistake", ["none at all", "another key", "expired", "alg none", "no sub"])
async def test_who_is_nobody_gets_a_401_that_says_what_is_wrong(open_rig: OpenBridge, mistake: str):
    rig = await open_rig(gate=shared_secret_authenticator())
    token, said = INVALID_TOKENS[mistake]
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answers = [await check_refused(rig, 401, **headers)]
    answers += [await check_refused(rig, 401, f"token={token}")] if token else []
    for answer in answers:
        assert said in detail(answer)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert rig.counters.closes_by_code == {4500: len(answers)}


@pytest.mark.parametrize("query", ["topics=audit,nothing", "topics=nothing", "rooms=r"])
async def test_what_the_grant_does_not_cover_is_a_403(open_rig: OpenBridge, query: str):
    rig = await open_rig(gate=shared_secret_authenticator())
    answer = await check_refused(rig, 403, query, Authorization=f"Bearer {sign_token()}")
    assert "grant" in detail(answer)
    assert rig.counters.closes_by_code == {4501: 1}


async def test_an_unknown_topic_is_a_403_that_names_those_that_there_are(rig):
    answer = await check_refused(rig, 403, "topics=orders,nwes")
    assert detail(answer) == "forbidden: there is no topic 'nwes' here; there are: news, orders"
    assert rig.counters.closes_by_code == {4501: 1}


async def test_another_sites_page_gets_a_403(rig):
    answer = await check_refused(rig, 403, Origin=OTHER)
    assert "BRIDGE_ALLOWED_ORIGINS" in detail(answer)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_the_same_origin_is_let_in(rig):
    listener = await open_welcomed_stream(rig, headers={"Origin": rig.http})
    assert listener.response.headers["access-control-allow-origin"] == rig.http


async def test_by_another_name_of_this_machine_it_is_a_403(open_rig: OpenBridge):
    rig = await open_rig(doors=OriginPolicy(hosts=LOOPBACK_HOSTS))
    assert (await request_stream(rig, Host="evil.example")).status == 403
    await open_welcomed_stream(rig, headers={"Host": "localhost"})


# -- 503 -------------------------------------------------------------------------------------------


async def later(rig: InProcessBridge, code: int, query: str = "") -> None:
    """Check that a client is asked to come back later, whatever it is."""
    before = rig.counters.closes_by_code[code]
    answer = await check_refused(rig, 503, query)
    assert int(answer.headers["retry-after"]) >= 1
    stream = await request_stream(rig, query, **EVENT_SOURCE)
    assert (stream.status, stream.headers["content-type"]) == (200, "text/event-stream")
    assert rig.counters.closes_by_code[code] == before + 2
    assert rig.admission.connection_count == len(rig.pool)


async def test_before_an_instance_was_ever_ready_it_is_a_503(rig):
    rig.upstream.reports_ready = False
    await later(rig, 4006)
    rig.upstream.reports_ready = True
    await open_welcomed_stream(rig)


async def test_one_connection_more_than_allowed_is_a_503(open_rig: OpenBridge):
    rig = await open_rig(max_connections=2)
    first = await open_welcomed_stream(rig)
    await rig.connect_welcomed()
    await later(rig, 4006)
    first.connection.abort()
    await wait_until(lambda: rig.admission.connection_count == 1)
    await open_welcomed_stream(rig)


async def test_one_connection_of_an_account_or_address_more_than_allowed_is_a_503(
    open_rig: OpenBridge,
):
    rig = await open_rig(
        max_connections_per_account=1, max_connections_per_address=2, proxies=TrustedProxies([HOST])
    )
    await open_welcomed_stream(rig, "account=alice")
    await later(rig, 4006, "account=alice")
    await rig.connect_welcomed("account=bob")
    await later(rig, 4006, "account=carol")
    await open_welcomed_stream(rig, "account=carol", {"X-Forwarded-For": "198.51.100.1"})


async def test_more_at_once_than_allowed_is_a_503(open_rig: OpenBridge):
    rig = await open_rig(max_handshakes_per_second=1)
    await open_welcomed_stream(rig)
    answer = await check_refused(rig, 503)
    assert "too many clients" in detail(answer)


async def test_too_stale_is_a_503_and_ends_those_who_are_there(open_rig: OpenBridge):
    rig = await open_rig(max_stale_seconds=30.0)
    listener = await open_welcomed_stream(rig)
    rig.upstream.stale_for = 31.0
    assert (await listener.wait_closed_with(4004))["reconnect"] is True
    await wait_until(lambda: rig.admission.connection_count == 0)
    await later(rig, 4004)


async def test_while_it_drains_it_is_a_503(open_rig: OpenBridge):
    rig = await open_rig(close_timeout_seconds=3600.0)
    stubborn = await rig.open_websocket()
    rig.server.should_exit = True
    assert (await stubborn.read_until_close())[0] == 4001
    await later(rig, 4001)


@pytest.mark.parametrize("missing", EVENT_SOURCE)
async def test_who_is_no_browser_or_asks_for_no_event_source_reads_the_503(rig, missing):
    rig.upstream.reports_ready = False
    headers = {name.replace("-", "_"): value for name, value in EVENT_SOURCE.items()}
    del headers[missing.replace("-", "_")]
    await check_refused(rig, 503, **headers)


async def test_a_browser_is_told_on_a_stream_when_to_come_back(rig):
    rig.upstream.reports_ready = False
    raw = await rig.open_tcp()
    answer = await request_stream_on(raw, headers=EVENT_SOURCE)
    assert answer.status == 200
    stream = SseClient(raw, answer)
    stream.parser.feed(answer.body)
    (event,) = stream.parser.dispatched
    closing = json.loads(event.data)
    assert (event.type, closing["code"], closing["reconnect"]) == ("closing", 4006, True)
    assert stream.parser.reconnection_ms == closing["retry_after"] * 1000 > 0
    assert stream.last_event_id == "", "what it would come back with is still what it has"


# -- 204 -------------------------------------------------------------------------------------------


async def test_who_was_closed_for_good_and_comes_back_by_itself_gets_a_204(rig):
    listener = await open_welcomed_stream(rig, "account=alice")
    (session,) = rig.hub.subscriptions.by_account["alice"]
    rig.hub.close(session, close_codes.DISCONNECTED)
    rig.pool.flusher.flush()
    closing = await listener.wait_closed_with(4504)
    assert closing["reconnect"] is False
    assert closing["cursor"], "for one who is asked back by other means"
    answer = await request_stream(
        rig, "account=alice", Last_Event_ID=listener.last_event_id, Origin=rig.http
    )
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == rig.http
    assert rig.admission.connection_count == 0
    await open_welcomed_stream(rig, f"account=alice&cursor={closing['cursor']}")


# -- waiting for a key -----------------------------------------------------------------------------


class SlowGate(AllowAll):
    """Needs something before it can judge."""

    def __init__(self) -> None:
        self.asked = 0
        self.found = asyncio.Event()

    def authenticate(self, credentials: Credentials) -> Any:
        self.asked += 1
        return self._authenticate_later(credentials)

    async def _authenticate_later(self, credentials: Credentials) -> Permissions:
        await self.found.wait()
        return super().authenticate(credentials)


async def test_who_has_to_be_looked_up_is_let_in_afterwards(open_rig: OpenBridge):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    opening = asyncio.create_task(open_welcomed_stream(rig, "account=alice"))
    await wait_until(lambda: gate.asked)
    assert rig.admission.connection_count == 0
    gate.found.set()
    assert (await opening).welcome["account"] == "alice"


async def test_who_leaves_while_it_is_looked_up_is_forgotten(open_rig: OpenBridge):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    raw = await rig.open_tcp()
    raw.send(b"GET /events HTTP/1.1\r\nHost: here\r\n\r\n")
    await wait_until(lambda: gate.asked)
    raw.abort()
    await wait_until(lambda: not rig.server.server_state.tasks)
    gate.found.set()
    assert (rig.admission.connection_count, rig.counters.closes_by_code) == (0, {})


async def test_a_drain_does_not_wait_for_who_is_looked_up(open_rig: OpenBridge):
    gate = SlowGate()
    rig = await open_rig(gate=gate)
    asking = asyncio.create_task(request_stream(rig))
    await wait_until(lambda: gate.asked)
    rig.server.should_exit = True
    assert (await asking).status == 503
    await wait_until(rig.serve_task.done)
