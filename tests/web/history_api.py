"""`GET /history` without a socket: one site, and an archive that does as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import httpx

from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.history import HistoryPage
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.web.api.access import AdminAccess
from bridge.web.app import create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import (
    AdmissionController,
    AdmissionLimits,
    ClientCounters,
    ExpiryTimers,
)
from bridge.web.connections.flushing import Flusher
from bridge.web.connections.pool import ConnectionPool
from bridge.web.endpoints.history import history_router
from tests.core.factories import TOPIC_ID, event
from tests.web.publish_api import admin_access
from tests.web.stub_admission import build_admission
from tests.web.stub_upstream import UnusedUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from bridge.core.replay.history import HistoryRequest
    from bridge.web.auth.authenticator import Authenticator

URL = "http://bridge.example"


class StubHistory:
    """Tells one event for all of `orders`, behind a gap; or fails, or waits."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.requests: list[HistoryRequest] = []
        self.error: Exception | None = None
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.pending_count = 0
        self.cancelled = asyncio.Event()

    async def read_page(self, request: HistoryRequest) -> HistoryPage:
        self.requests.append(request)
        self.pending_count += 1
        try:
            await self.may_respond.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.pending_count -= 1
        if self.error is not None:
            raise self.error
        reader = request.session
        places, ends = {"orders": {0: 7}}, {"orders": {0: 9}}
        gaps = {"orders": "expired"}
        page = HistoryPage(
            reader,
            self._hub.topic_positions,
            places,
            ends,
            max_events=request.max_events,
            gap_reasons=gaps,
            made_at=int(time.time()),
        )
        cursor = page.partition_cursor("orders", 0)
        assert cursor is not None
        page.add_events(cursor, [event(7, b'{"n": 1.0}', all=True)], 7, 8, 0)
        page.finish_early()
        return page


class HistoryApiClient:
    """A client of `/history`, and the bridge that it asks."""

    app: ASGIApp

    def __init__(
        self,
        http: httpx.AsyncClient,
        hub: Hub,
        admission: AdmissionController,
        history: StubHistory,
        upstream: StubKafka,
        limits: AdmissionLimits,
    ) -> None:
        self.http = http
        self.admission = admission
        self.history = history
        self.hub = hub
        self.pool = ConnectionPool(
            hub,
            admission,
            expiry=ExpiryTimers(hub),
            flusher=Flusher(hub),
            upstream=upstream,
            limits=limits,
            counters=ClientCounters(),
        )
        self.upstream: Any = upstream

    async def get(self, bearer: str | None = None, /, **parameters: str) -> httpx.Response:
        """Ask, with a credential in the header."""
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return await self.http.get("/history", params=parameters, headers=headers)

    async def get_request(self, bearer: str | None = None, /, **parameters: str) -> HistoryRequest:
        """Ask; return what the archive was asked."""
        response = await self.get(bearer, **parameters)
        assert response.status_code == 200, response.text
        return self.history.requests[-1]


class StubKafka(UnusedUpstream):
    """A Kafka that may be said to be something else than well."""

    reports_ready = True
    stale_for: float | None = None

    def is_ready(self) -> bool:
        return self.reports_ready

    def stale_seconds(self) -> float | None:  # type: ignore[override]
        return self.stale_for


@contextlib.asynccontextmanager
async def history_api(
    authenticator: Authenticator | None = None,
    origins: OriginPolicy | None = None,
    *,
    admins: bool = True,
    **limits: Any,
) -> AsyncIterator[HistoryApiClient]:
    """A site of `/history`, on a bridge of `orders`, `news` and a private `audit`."""
    topics = {"orders": False, "news": False, "audit": True}
    hub = Hub(
        "i1",
        topics,
        heartbeat_seconds=25.0,
        max_outbox_bytes=1 << 20,
        jitter=lambda most: most,
        wall_clock=time.time,
    )
    for topic in topics:
        hub.set_start_offsets(topic, TOPIC_ID, {0: 9})
    admission_limits = AdmissionLimits(
        RequestLimits(max_rooms=3, max_topics=3, max_changes_per_minute=9), **limits
    )
    upstream = StubKafka()
    origin_policy = origins if origins is not None else OriginPolicy()
    admission = build_admission(
        hub,
        admission_limits,
        CatchUp(hub, retention.ReplayLimits(1000, 1 << 20), 1 << 20),
        upstream,
        authenticator=authenticator,
    )
    stub_history = StubHistory(hub)
    # No certificates: to read them takes 25 ms.
    async with httpx.AsyncClient(base_url=URL, trust_env=False, verify=False) as http:
        client = HistoryApiClient(http, hub, admission, stub_history, upstream, admission_limits)
        tokens = admin_access() if admins else AdminAccess([])
        router = history_router(
            admission,
            stub_history,
            tokens,
            client.pool,
            origin_policy=origin_policy,
            trusted_proxies=TrustedProxies(),
            jitter=hub.jitter,
        )
        app = create_app(origin_policy, [router], {})  # its document is asked for elsewhere
        client.app = app
        http._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield client
