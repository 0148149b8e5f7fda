"""The HTTP side without a socket: one site, and an outlet that does as a test says."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from bridge.core.ports import NoTopic
from bridge.core.protocol.cursor import Position
from bridge.web.api.publish import api
from bridge.web.app import site
from bridge.web.auth.origins import Doors
from bridge.web.http.rate_limit import Pace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TOKEN = "an-admin-token"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EVENT_BYTES = 2000


class Written(NamedTuple):
    """One record as it was written."""

    topic: str
    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]


class Outlet:
    """Keeps what is written; fails with `error` where that is set."""

    def __init__(self) -> None:
        self.written: list[Written] = []
        self.error: Exception | None = None

    async def write(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        if self.error is not None:
            raise self.error
        if topic not in {"orders", "news"}:
            raise NoTopic(topic)
        self.written.append(Written(topic, value, key, headers))
        return Position(topic, 3, len(self.written) - 1)


class Desk:
    """A client of the API, and what it has written."""

    def __init__(self, http: httpx.AsyncClient, outlet: Outlet) -> None:
        self.http = http
        self.outlet = outlet
        self.now = 1e6

    async def post(self, body: Any, **more: Any) -> httpx.Response:
        """Publish: `body` as it stands where it is bytes, else as JSON."""
        given = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.http.post("/v1/events", **{"headers": BEARER, **given, **more})


@contextlib.asynccontextmanager
async def desk(*tokens: str, per_second: float = 1000) -> AsyncIterator[Desk]:
    """A site with the API, open to those who have one of `tokens`."""
    outlet = Outlet()
    holder: list[Desk] = []
    routes = api(
        outlet,
        tokens or (TOKEN,),
        event_bytes=EVENT_BYTES,
        pace=Pace(per_second, now=lambda: holder[0].now),
    )
    transport = httpx.ASGITransport(site(Doors(), [routes]), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        holder.append(Desk(http, outlet))
        yield holder[0]


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that `answer` is RFC 9457's; return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    assert body["detail"]
    return body
