"""The OpenAPI document: it describes what is there, and nothing that it describes is a 5xx.

Schemathesis makes the requests: those that the document allows, and those that it does not.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from bridge.core.protocol.frames import Hello
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.web.api.publish import EXAMPLE, publish_router
from bridge.web.api.reload import reload_router
from bridge.web.api.schemas import Reloaded
from bridge.web.app import build_openapi_document, create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import AdmissionLimits, ClientCounters
from bridge.web.connections.sse import events_router
from bridge.web.endpoints.health import health_router
from bridge.web.endpoints.history import history_router
from bridge.web.endpoints.metrics import MetricsCollector, metrics_router
from bridge.web.http.rate_limit import RateLimit
from bridge.web.transport.http_connections import HttpConnections
from tests.tiers import example_count
from tests.web.described_requests import NEGATIVE, POSITIVE, DescribedRequests
from tests.web.directory_api import DirectoryBackend
from tests.web.history_api import StubHistory
from tests.web.publish_api import BEARER, RecordingPublisher, admin_access
from tests.web.stub_admission import build_admission
from tests.web.stub_upstream import UnusedUpstream

if TYPE_CHECKING:
    from bridge.web.connections.pool import ConnectionPool
    from bridge.web.connections.sse import SseEndpoint
    from tests.web.described_requests import Mode

METHODS: Final = {"get", "put", "post", "delete", "patch"}


async def reload_nothing() -> Reloaded:
    return Reloaded([], [], [], [])


def routers() -> list[Any]:
    hub = Hub(
        "i1",
        {"orders": False},
        heartbeat_seconds=25.0,
        max_outbox_bytes=1 << 20,
        jitter=float,
        wall_clock=time.time,
    )
    catch_up = CatchUp(hub, retention.ReplayLimits(1000, 1 << 20), 1 << 20)
    limits = AdmissionLimits(RequestLimits(200, 50, 300))
    upstream = UnusedUpstream()
    entrance = build_admission(hub, limits, catch_up, upstream)
    backends = publish_router(
        RecordingPublisher(),
        admin_access(),
        max_event_bytes=2000,
        max_addresses=100,
        rate_limit=RateLimit(1e9),
    )
    streams = events_router(
        cast("SseEndpoint", None)
    )  # they need a connection; tests/web/connections/test_sse*.py
    # And a clock; tests/web/endpoints/test_history_openapi.py.
    past = history_router(
        entrance,
        StubHistory(hub),
        admin_access(),
        cast("ConnectionPool", None),
        origin_policy=OriginPolicy(),
        trusted_proxies=TrustedProxies(),
        jitter=hub.jitter,
    )
    counted = metrics_router(
        MetricsCollector(
            hub,
            entrance,
            upstream,
            counters=ClientCounters(),
            catch_up=catch_up,
            upstream=upstream,
            http_connections=HttpConnections(),
        )
    )
    registry = DirectoryBackend()
    registry.connect_here("0")  # what Schemathesis calls things
    registry.connect_elsewhere("00", "0", ["0"])
    registry.add_instance("i2")
    registry.add_topic("orders")
    return [
        health_router(entrance, upstream),
        streams,
        past,
        counted,
        backends,
        reload_router(reload_nothing, admin_access(), rate_limit=RateLimit(1e9)),
        *registry.routers(),
    ]


APP: Final = create_app(OriginPolicy(), routers())
DOCUMENT: Final = APP.openapi()
OPERATIONS: Final = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
}
#: What can be asked without a connection.
ASKED: Final = [name for name in OPERATIONS if name not in {"GET /events", "GET /history"}]
#: What is asked about who is where, and ordered.
BACKSTAGE: Final = [name for name in ASKED if " /v1/" in name and name != "POST /v1/events"]


# -- what it says ----------------------------------------------------------------------------------


def test_it_describes_every_route_that_there_is() -> None:
    assert OPERATIONS.keys() == {
        "GET /healthz",
        "GET /livez",
        "GET /readyz",
        "GET /events",
        "GET /history",
        "GET /metrics",
        "POST /v1/events",
        "PUT /v1/rooms/{room}/connections/{connection}",
        "DELETE /v1/rooms/{room}/connections/{connection}",
        "PUT /v1/rooms/{room}/accounts/{account}",
        "DELETE /v1/rooms/{room}/accounts/{account}",
        "PUT /v1/rooms/{room}",
        "DELETE /v1/connections/{connection}",
        "DELETE /v1/accounts/{account}/connections",
        "POST /v1/accounts/{account}/revoke",
        "GET /v1/connections",
        "GET /v1/connections/{connection}",
        "GET /v1/accounts/{account}",
        "GET /v1/rooms",
        "GET /v1/rooms/{room}",
        "GET /v1/instances",
        "GET /v1/topics",
        "POST /v1/reload",
    }


def test_it_is_the_same_for_the_routes_alone() -> None:
    assert build_openapi_document(routers()) == DOCUMENT


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_says_what_it_does_and_every_answer_what_it_means(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation["description"]
    for status, answer in operation["responses"].items():
        assert answer["description"] not in {"", "Successful Response"}, status
        if status >= "400":
            (media,) = answer["content"]
            assert media == "application/problem+json"
            assert answer["content"][media]["schema"] == {"$ref": "#/components/schemas/Problem"}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if " /v1/" in name])
def test_every_call_of_the_api_needs_the_admin_token_and_says_so(name: str) -> None:
    (needed,) = OPERATIONS[name]["security"]
    assert needed == {"adminToken": []}
    assert {"401", "404", "429"} <= OPERATIONS[name]["responses"].keys()
    scheme = DOCUMENT["components"]["securitySchemes"]["adminToken"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


def test_publishing_tells_each_of_its_answers() -> None:
    answers = OPERATIONS["POST /v1/events"]["responses"].keys()
    assert answers == {"202", "400", "401", "403", "404", "413", "422", "429", "503"}


def test_publishing_tells_of_the_trace_that_it_takes_on() -> None:
    (parameter,) = OPERATIONS["POST /v1/events"]["parameters"]
    assert (parameter["in"], parameter["name"]) == ("header", "traceparent")
    assert not parameter["required"]


def test_an_event_stream_tells_each_of_its_parameters_and_answers() -> None:
    operation = OPERATIONS["GET /events"]
    named = {(each["in"], each["name"]) for each in operation["parameters"]}
    headers = {("header", "Last-Event-ID"), ("header", "Authorization")}
    names = {*Hello.__struct_fields__, "lastEventId"}
    assert named == headers | {("query", name) for name in names}
    assert operation["responses"].keys() == {"200", "204", "400", "401", "403", "503"}
    assert operation["responses"]["200"]["content"].keys() == {"text/event-stream"}


@pytest.mark.parametrize(
    "path", sorted(name.split()[1] for name in ASKED if name.startswith("GET ") and "{" not in name)
)
async def test_every_get_has_its_head(path: str) -> None:
    transport = httpx.ASGITransport(APP, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        get, head = await http.get(path), await http.head(path)
        assert head.status_code == get.status_code != 405
        assert head.headers["content-type"] == get.headers["content-type"]
        refused = await http.request("PATCH", path)
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_every_reference_leads_somewhere() -> None:
    written = json.dumps(DOCUMENT)
    named = {part.split('"')[0] for part in written.split('"$ref": "#/components/schemas/')[1:]}
    assert named == DOCUMENT["components"]["schemas"].keys()


def test_its_example_is_one() -> None:
    publication = {**DOCUMENT["components"]["schemas"]["Publication"]}
    assert Draft202012Validator(publication).is_valid(EXAMPLE)
    assert not Draft202012Validator(publication).is_valid({**EXAMPLE, "accounts": "alice"})


@pytest.mark.parametrize(
    "nobody", [{}, {"accounts": []}, {"all": False}, {"rooms": None, "accounts": None}]
)
def test_the_schema_says_that_an_event_is_for_somebody(nobody: dict[str, Any]) -> None:
    publication = Draft202012Validator(DOCUMENT["components"]["schemas"]["Publication"])
    assert not publication.is_valid({"topic": "orders", **nobody})
    assert publication.is_valid({"topic": "orders", **nobody, "connections": ["c"]})


# -- what comes of it ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def requests() -> DescribedRequests:
    return DescribedRequests(APP)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        # What takes no input can not be asked wrongly.
        *((name, POSITIVE) for name in ASKED if name not in BACKSTAGE),
        ("POST /v1/events", NEGATIVE),
    ],
)
@settings(max_examples=example_count(150), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_a_5xx_and_every_answer_is_as_described(
    requests: DescribedRequests, name: str, mode: Mode, data: st.DataObject
) -> None:
    ask(requests, name, mode, data)


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
@pytest.mark.parametrize("name", BACKSTAGE)
@settings(max_examples=example_count(40, daily_part=0.15), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_call_of_backends_is_a_5xx_and_every_answer_is_as_described(
    requests: DescribedRequests, name: str, mode: Mode, data: st.DataObject
) -> None:
    ask(requests, name, mode, data)


def ask(requests: DescribedRequests, name: str, mode: Mode, data: st.DataObject) -> None:
    case = data.draw(requests.strategy(name, mode))
    if mode == POSITIVE and case.query and case.query.get("page") is not None:
        case.query["page"] = "MA"  # no schema can say which were given
    answer = case.call(headers=BEARER)
    # What is wrong may be no more than the credential, which is put right here.
    unchecked = ["negative_data_rejection"] if name in BACKSTAGE else []
    requests.validate(case, answer, unchecked=unchecked)
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


@given(body=st.binary(max_size=200), path=st.sampled_from([name.split(" ")[1] for name in ASKED]))
async def test_no_body_is_a_5xx(body: bytes, path: str) -> None:
    transport = httpx.ASGITransport(APP)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        for method in sorted(METHODS):
            answer = await http.request(method, path, content=body, headers=BEARER)
            assert answer.status_code < 500
