"""Event streams for pages of other origins: those that are listed may read them, no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.web.auth.origins import OriginPolicy
from tests.web.sse_client import check_refused, open_welcomed_stream, request_stream

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import HttpResponse

SHOP, OTHER = "https://shop.example", "https://other.example"


@pytest.fixture
async def shared(open_rig: OpenBridge) -> InProcessBridge:
    return await open_rig(doors=OriginPolicy(origins=(SHOP,)))


async def test_a_page_of_an_allowed_origin_may_read_every_answer(shared):
    listener = await open_welcomed_stream(shared, headers={"Origin": SHOP})
    for answer in listener.response, await check_refused(shared, 400, "nonsense=1", Origin=SHOP):
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    assert (await check_refused(shared, 403, Origin=OTHER)).headers.get("vary") is None


async def test_any_origin_is_named_where_all_are_allowed(open_rig: OpenBridge):
    rig = await open_rig(doors=OriginPolicy(origins=("*",)))
    listener = await open_welcomed_stream(rig, headers={"Origin": OTHER})
    assert listener.response.headers["access-control-allow-origin"] == OTHER


async def test_a_page_may_ask_what_it_may_send(shared):
    answer = await request_stream(
        shared, "", "OPTIONS", Origin=SHOP, Access_Control_Request_Method="GET"
    )
    assert (answer.status, answer.body) == (204, b"")
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    assert {"authorization", "last-event-id"} <= set(allowed)
    assert "GET" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-origin"] == SHOP
    assert (await request_stream(shared, "", "OPTIONS", Origin=OTHER)).status == 403


#: What tracing and monitoring libraries add to every request of a page.
LIBRARY_HEADERS = (
    "traceparent, tracestate, baggage, sentry-trace, b3, x-b3-traceid, x-b3-spanid, x-b3-sampled,"
    " x-datadog-trace-id, x-datadog-origin, newrelic, elastic-apm-traceparent, x-request-id,"
    " x-correlation-id, x-requested-with, uber-trace-id, request-id, x-amzn-trace-id, x-dtpc"
)


def allows(answer: HttpResponse, name: str) -> bool:
    """Whether a browser would send `name` (Fetch, 4.8, "CORS-preflight fetch", without cookies)."""
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    return name in allowed or ("*" in allowed and name != "authorization")


@pytest.mark.parametrize("name", ["authorization", *LIBRARY_HEADERS.split(", ")])
async def test_a_page_may_send_what_its_libraries_add(shared, name):
    answer = await request_stream(
        shared,
        "",
        "OPTIONS",
        Origin=SHOP,
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers=name,
    )
    assert answer.status == 204
    assert allows(answer, name)


async def test_no_answer_may_be_stored_or_transformed(shared):
    answers = [
        (await open_welcomed_stream(shared, headers={"Origin": SHOP})).response,
        await check_refused(shared, 400, "nonsense=1"),
        await check_refused(shared, 403, Origin=OTHER),
        await check_refused(shared, 403, "topics=nothing"),
        await request_stream(shared, "", Last_Event_ID="final:4501"),
        await request_stream(shared, "account=alice", "HEAD"),
        await request_stream(shared, "", "POST"),
    ]
    shared.admission.is_draining = True
    answers.append(await check_refused(shared, 503))
    browser = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"}
    answers.append(await request_stream(shared, **browser))
    assert [answer.status for answer in answers] == [200, 400, 403, 403, 204, 200, 405, 503, 200]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store, no-transform", answer


async def test_options_and_head_are_answered_without_a_stream(rig):
    answer = await request_stream(rig, "", "OPTIONS")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert "access-control-allow-origin" not in answer.headers
    answer = await request_stream(rig, "account=alice", "HEAD")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    assert "content-length" not in answer.headers
    assert (await request_stream(rig, "nonsense=1", "HEAD")).status == 400
    assert (await request_stream(rig, "topics=nothing", "HEAD")).status == 403
    assert (rig.admission.connection_count, len(rig.pool)) == (0, 0)
    assert (await request_stream(rig, "", "POST")).status == 405
