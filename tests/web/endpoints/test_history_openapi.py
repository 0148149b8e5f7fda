"""What OpenAPI says of `GET /history`, and that nothing that may be asked is a 5xx."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.core.protocol.frames import Hello
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.web.app import create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import AdmissionLimits
from bridge.web.endpoints.history import history_router
from tests.harness.history_pages import read_page
from tests.tiers import example_count
from tests.web.described_requests import NEGATIVE, POSITIVE, DescribedRequests
from tests.web.history_api import StubHistory
from tests.web.publish_api import BEARER, admin_access
from tests.web.stub_admission import build_admission
from tests.web.stub_upstream import UnusedUpstream

if TYPE_CHECKING:
    from fastapi import FastAPI

    from bridge.web.connections.pool import ConnectionPool
    from tests.web.described_requests import Mode


class Staying:
    """An instance that does not leave, on whatever loop it is asked."""

    async def wait(self) -> None:
        await asyncio.get_running_loop().create_future()


def app() -> FastAPI:
    hub = Hub(
        "i1",
        {"orders": False},
        heartbeat_seconds=25.0,
        max_outbox_bytes=1 << 20,
        jitter=float,
        wall_clock=time.time,
    )
    catch_up = CatchUp(hub, retention.ReplayLimits(1000, 1 << 20), 1 << 20)
    limits = AdmissionLimits(RequestLimits(200, 50, 300), max_handshakes_per_second=10**6)
    entrance = build_admission(hub, limits, catch_up, UnusedUpstream())
    sockets = cast("ConnectionPool", SimpleNamespace(now=time.monotonic, drain_started=Staying()))
    router = history_router(
        entrance,
        StubHistory(hub),
        admin_access(),
        sockets,
        origin_policy=OriginPolicy(),
        trusted_proxies=TrustedProxies(),
        jitter=hub.jitter,
    )
    return create_app(OriginPolicy(), [router])


APP: Final = app()
DOCUMENT: Final[dict[str, Any]] = APP.openapi()
OPERATION: Final[dict[str, Any]] = DOCUMENT["paths"]["/history"]["get"]


@pytest.fixture(scope="module")
def requests() -> DescribedRequests:
    return DescribedRequests(APP)


def test_it_tells_each_of_its_parameters_and_answers() -> None:
    assert {each["in"] for each in OPERATION["parameters"]} == {"query"}
    named = {each["name"] for each in OPERATION["parameters"]}
    assert named == {*Hello.__struct_fields__, "limit"}
    assert all(each["description"] for each in OPERATION["parameters"])
    assert OPERATION["responses"].keys() == {"200", "400", "401", "403", "429", "503"}
    assert "Retry-After" in OPERATION["responses"]["503"]["headers"]


def test_a_credential_may_be_in_a_header_and_need_not_be() -> None:
    assert OPERATION["security"] == [{"credential": []}, {}]
    scheme = DOCUMENT["components"]["securitySchemes"]["credential"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")


@pytest.mark.parametrize("mode", [POSITIVE, NEGATIVE])
@settings(max_examples=example_count(150), suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_request_is_a_5xx_and_every_answer_is_as_described(
    requests: DescribedRequests, mode: Mode, data: st.DataObject
) -> None:
    case = data.draw(requests.strategy("GET /history", mode))
    answer = case.call(headers=BEARER)
    # A cursor has a checksum, and a time is a day of the calendar: no schema says that.
    requests.validate(case, answer, unchecked=["positive_data_acceptance"])
    if answer.status_code == 200:
        read_page(answer.content)
    else:
        assert answer.headers["content-type"][0] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code < 500
