"""`GET /history` without a socket: one site, and an archive that does as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import httpx

from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.history import Page
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import Bounds
from bridge.web.api.publish import AdminTokens
from bridge.web.app import site
from bridge.web.auth.authenticator import OpenGate
from bridge.web.auth.origins import Doors
from bridge.web.connections.admission import Entrance, Limits
from bridge.web.connections.pool import Sockets
from bridge.web.endpoints.history import history
from tests.core.given import LIFE, event
from tests.web.posting import TOKEN
from tests.web.upstream import NoKafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from bridge.core.replay.history import Asked
    from bridge.web.auth.authenticator import Gate

URL = "http://bridge.example"


class Archive:
    """Tells one event for all of `orders`, behind a gap; or fails, or waits."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.asked: list[Asked] = []
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.waiting = 0
        self.given_up = asyncio.Event()

    async def page(self, asked: Asked) -> Page:
        self.asked.append(asked)
        self.waiting += 1
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        finally:
            self.waiting -= 1
        if self.error is not None:
            raise self.error
        reader = asked.reader
        places, ends = {"orders": {0: 7}}, {"orders": {0: 9}}
        gaps = {"orders": "expired"}
        page = Page(reader, self._hub.logs, places, ends, limit=asked.limit, gaps=gaps)
        strand = page.strand("orders", 0)
        assert strand is not None
        page.take(strand, [event(7, b'{"n": 1.0}', all=True)], 7, 8, 0)
        page.cut()
        return page


class Desk:
    """A client of `/history`, and the bridge that it asks."""

    app: ASGIApp

    def __init__(self, http: httpx.AsyncClient, entrance: Entrance, archive: Archive) -> None:
        self.http = http
        self.entrance = entrance
        self.archive = archive
        self.sockets = Sockets(entrance)
        self.upstream: Any = entrance.upstream

    async def ask(self, bearer: str | None = None, /, **parameters: str) -> httpx.Response:
        """Ask, with a credential in the header."""
        headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
        return await self.http.get("/history", params=parameters, headers=headers)

    async def asked(self, bearer: str | None = None, /, **parameters: str) -> Asked:
        """Ask; return what the archive was asked."""
        answer = await self.ask(bearer, **parameters)
        assert answer.status_code == 200, answer.text
        return self.archive.asked[-1]


class Kafka(NoKafka):
    """A Kafka that may be said to be something else than well."""

    is_ready = True
    stale_for: float | None = None

    def ready(self) -> bool:
        return self.is_ready

    def stale(self) -> float | None:  # type: ignore[override]
        return self.stale_for


@contextlib.asynccontextmanager
async def desk(
    gate: Gate | None = None, doors: Doors | None = None, *, admins: bool = True, **limits: Any
) -> AsyncIterator[Desk]:
    """A site of `/history`, on a bridge of `orders`, `news` and a private `audit`."""
    topics = {"orders": False, "news": False, "audit": True}
    hub = Hub("i1", topics, heartbeat=25.0, ceiling=1 << 20, jitter=lambda most: most)
    for topic in topics:
        hub.begin(topic, LIFE, {0: 9})
    entrance = Entrance(
        hub,
        gate if gate is not None else OpenGate(),
        doors if doors is not None else Doors(),
        Limits(Bounds(rooms=3, topics=3, changes_per_minute=9), **limits),
        catch_up=CatchUp(hub, retention.Limits(1000, 1 << 20), 1 << 20),
    )
    entrance.upstream = Kafka()
    archive = Archive(hub)
    async with httpx.AsyncClient(base_url=URL) as http:
        it = Desk(http, entrance, archive)
        tokens = AdminTokens([TOKEN] if admins else [])
        app = site(entrance.doors, [history(entrance, archive, tokens, it.sockets)])
        it.app = app
        http._transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        yield it
