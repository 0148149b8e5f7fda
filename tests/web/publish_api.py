"""The HTTP side without a socket: one site, and an outlet that does as a test says."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

from bridge.core.ports import UnknownTopic
from bridge.core.protocol.cursor import Position
from bridge.web.api.access import AdminAccess, Operator
from bridge.web.api.publish import publish_router
from bridge.web.app import create_app
from bridge.web.auth.origins import OriginPolicy
from bridge.web.http.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TOKEN = "an-admin-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EVENT_BYTES = 2000
MAX_ADDRESSES = 100


class PublishedRecord(NamedTuple):
    """One record as it was written."""

    topic: str
    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]


class RecordingPublisher:
    """Keeps what is written; fails with `error` where that is set."""

    def __init__(self) -> None:
        self.records: list[PublishedRecord] = []
        self.error: Exception | None = None

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        if self.error is not None:
            raise self.error
        if topic not in {"orders", "news", "routed", "text", "bytes"}:
            raise UnknownTopic(topic)
        self.records.append(PublishedRecord(topic, value, key, headers))
        return Position(topic, 3, len(self.records) - 1)


class PublishApiClient:
    """A client of the API, and what it has written."""

    def __init__(self, http: httpx.AsyncClient, publisher: RecordingPublisher) -> None:
        self.http = http
        self.publisher = publisher
        self.now_seconds = 1e6

    async def post(self, body: Any, **options: Any) -> httpx.Response:
        """Publish: `body` as it stands where it is bytes, else as JSON."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return await self.http.post("/v1/events", **{"headers": BEARER, **content, **options})


def admin_access(*tokens: str) -> AdminAccess:
    """Access for those who have one of `tokens`, by default `TOKEN`; guesses are far apart."""
    operators = [
        Operator(token, f"owner-{number}") for number, token in enumerate(tokens or (TOKEN,))
    ]
    return AdminAccess(operators, now=itertools.count().__next__)


@contextlib.asynccontextmanager
async def publish_api(*tokens: str, per_second: float = 1000) -> AsyncIterator[PublishApiClient]:
    """A site with the API, open to those who have one of `tokens`."""
    publisher = RecordingPublisher()
    client_holder: list[PublishApiClient] = []
    routes = publish_router(
        publisher,
        admin_access(*tokens),
        max_event_bytes=EVENT_BYTES,
        max_addresses=MAX_ADDRESSES,
        header_format={"routed": "json", "text": "text", "bytes": "bytes", "avro": "avro"}.get,
        rate_limit=RateLimit(per_second, now=lambda: client_holder[0].now_seconds),
    )
    transport = httpx.ASGITransport(
        create_app(OriginPolicy(), [routes], {}), raise_app_exceptions=False
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        client_holder.append(PublishApiClient(http, publisher))
        yield client_holder[0]


def check_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that `response` is RFC 9457's; return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    assert body["title"]
    assert body["detail"]
    return body
