"""`GET /history`: a client's own past events, in pages.

Rule: it has the parameters of a connection, and checks them in the same order. Each client has at
most `MAX_CONCURRENT_REQUESTS` at a time, so that none blocks the others.
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer
from msgspec import Meta

from bridge.core.protocol import close_codes
from bridge.core.replay.history import HistoryRequest, HistoryUnavailable
from bridge.core.sessions.permissions import Permissions, unrestricted
from bridge.web.api.access import ACCESS_PROBLEMS
from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.client_address import client_network
from bridge.web.connections.connect_request import (
    BadRequest,
    complete_credentials,
    parse_query_with_extras,
)
from bridge.web.http import client_http
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import Receive, Scope, Send

    from bridge.core.replay.history import HistoryReader
    from bridge.core.sessions.session import Session
    from bridge.web.api.access import AdminAccess
    from bridge.web.auth.authenticator import Credentials
    from bridge.web.auth.client_address import TrustedProxies
    from bridge.web.auth.origins import OriginPolicy
    from bridge.web.connections.admission import AdmissionController
    from bridge.web.connections.connect_request import ConnectRequest
    from bridge.web.connections.pool import ConnectionPool

PATH: Final = "/history"
DEFAULT_EVENTS_PER_PAGE: Final = 100
MAX_EVENTS_PER_PAGE: Final = 1_000
#: Per account, or per address of clients without an account.
MAX_CONCURRENT_REQUESTS: Final = 4
_client_bearer: Final = HTTPBearer(
    scheme_name="credential",
    description="A client's token, or an admin token with any `account`.",
    auto_error=False,
)
_JWT_DOTS: Final = 2
_CHUNK_BYTES: Final = 64 * 1024


class History(msgspec.Struct):
    """Past events, oldest first."""

    events: Annotated[list[dict[str, Any]], Meta(description="`event` frames, as on a connection.")]
    cursor: Annotated[str, Meta(description="The position after these events, for the next page.")]
    more: Annotated[bool, Meta(description="Whether there may be another page.")]
    gaps: Annotated[
        list[dict[str, Any]],
        Meta(description="`gap` frames of topics whose earlier events are no longer available."),
    ]
    waiting: Annotated[
        list[str],
        Meta(description="Partitions without a leader, as `topic:partition`: read again later."),
    ]


_PARAMETER_DESCRIPTIONS: Final = {
    "topics": "Comma-separated topics; absent: every topic that is not private",
    "rooms": "Comma-separated rooms whose events are included",
    "types": "Comma-separated event types; `*` at the end matches a prefix; absent: all",
    "cursor": "The start position: the `cursor` of a page or of any frame",
    "since": "The start time (RFC 3339); not with `cursor`. Without both a page starts as early as"
    " the replay limits allow",
    "token": "The credential, if no `Authorization` header can be set",
    "account": "The account; only if authentication is off, or with an admin token",
}
_TEXT_SCHEMA: Final = {"type": "string", "minLength": 1}
_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": name, "in": "query", "description": description, "schema": _TEXT_SCHEMA}
    for name, description in _PARAMETER_DESCRIPTIONS.items()
]
_PARAMETERS.append(
    {
        "name": "limit",
        "in": "query",
        "description": "The maximum number of events",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_EVENTS_PER_PAGE,
            "default": DEFAULT_EVENTS_PER_PAGE,
        },
    }
)
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page of events",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/History"}}},
    },
    **openapi_problems(
        {
            400: "A parameter is unknown, empty, repeated or malformed, or the cursor is invalid",
            401: "The credential is missing or wrong",
            403: "The host, the origin, a topic or a room is not allowed",
            429: ACCESS_PROBLEMS[429],
            503: "Kafka is unreachable, or there are too many requests",
        }
    ),
}


class _HistoryResponse(Response):
    """Sends a page as fast as the client reads it, and holds its request slot until the end."""

    def __init__(self, page: bytes, headers: dict[str, str], request_slot: ExitStack) -> None:
        super().__init__(page, media_type="application/json", headers=headers)
        self._request_slot = request_slot

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send the page in chunks. uvicorn has backpressure before a chunk, not after the last."""
        with self._request_slot:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            for offset in range(0, len(self.body), _CHUNK_BYTES):
                chunk = bytes(self.body[offset : offset + _CHUNK_BYTES])
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _ParsedRequest(NamedTuple):
    """One well-formed request. `is_trusted` is true with an admin token."""

    credentials: Credentials
    connect_request: ConnectRequest
    limit: int
    is_trusted: bool


class _HistoryEndpoint:
    """Serves requests, with a limit per client."""

    def __init__(
        self,
        admission: AdmissionController,
        history_reader: HistoryReader,
        admin_access: AdminAccess,
        pool: ConnectionPool,
        *,
        origin_policy: OriginPolicy,
        trusted_proxies: TrustedProxies,
        jitter: Callable[[float], float],
    ) -> None:
        self._admission = admission
        self._history_reader = history_reader
        self._admin_access = admin_access
        self._pool = pool
        self._origin_policy = origin_policy
        self._trusted_proxies = trusted_proxies
        self._jitter = jitter
        self._concurrent_requests: Counter[str] = Counter()

    async def respond(self, request: Request) -> Response:
        """Return the response to one request.

        Cancellation: safe.
        """
        if (rejection := client_http.reject_origin(request, self._origin_policy)) is not None:
            return rejection
        headers = {
            "X-Content-Type-Options": "nosniff",
            **client_http.response_headers(request, self._origin_policy),
        }
        try:
            return await self._fetch_page(request, self._parse(request), headers)
        except BadRequest as error:
            return problem_response(400, str(error), headers=headers)
        except AuthRefused as refused:
            retry_after_seconds = refused.close.spread_retry_after(self._jitter)
            return client_http.refusal_response(refused.close, retry_after_seconds, headers)
        except client_http.ClientDisconnected:
            return Response()  # nobody reads it

    def _parse(self, request: Request) -> _ParsedRequest:
        try:
            query = request.scope["query_string"].decode("ascii")
        except UnicodeDecodeError:
            raise BadRequest("the query is not ASCII: percent-encode it") from None
        hello, extra_parameters = parse_query_with_extras(query, {"limit"})
        credentials = client_http.read_credentials(
            request,
            self._trusted_proxies,
            self._origin_policy,
            self._admission.credential_headers,
        )
        is_trusted = self._is_operator(credentials)
        connect_request = self._admission.parse(hello, is_trusted=is_trusted)
        limit = _parse_limit(extra_parameters.get("limit"))
        credentials = complete_credentials(credentials, hello, connect_request)
        return _ParsedRequest(credentials, connect_request, limit, is_trusted)

    def _is_operator(self, credentials: Credentials) -> bool:
        """Whether the bearer token is an admin token; a wrong one counts as a guess."""
        token = credentials.token
        if token is None or token.count(".") == _JWT_DOTS:  # a client's
            return token is not None and self._admin_access.find(token) is not None
        address = client_network(credentials.address)
        self._admin_access.check_rate(address)
        if self._admin_access.find(token) is not None:
            return True
        self._admin_access.count_wrong(address)
        return False

    async def _fetch_page(
        self, request: Request, parsed: _ParsedRequest, headers: dict[str, str]
    ) -> Response:
        self._admission.check_rate(self._pool.now())
        permissions = (
            unrestricted(parsed.credentials.account)
            if parsed.is_trusted
            else self._admission.authenticate(parsed.credentials)
        )
        if not isinstance(permissions, Permissions):
            permissions = await client_http.wait_unless_disconnected(
                permissions, request, self._pool.drain_started
            )
        session = self._create_reader(permissions, parsed)
        history_request = HistoryRequest(
            session, parsed.connect_request.cursor, parsed.connect_request.since_ms, parsed.limit
        )
        with ExitStack() as request_slot:
            request_slot.enter_context(self._hold_request_slot(session, parsed))
            try:
                page = await client_http.wait_unless_disconnected(
                    self._history_reader.read_page(history_request),
                    request,
                    self._pool.drain_started,
                )
            except HistoryUnavailable as error:
                raise AuthRefused(close_codes.OVERLOADED, f"overloaded: {error}") from None
            self._create_reader(permissions, parsed)  # permissions may have ended meanwhile
            return _HistoryResponse(page.to_json(), headers, request_slot.pop_all())

    def _create_reader(self, permissions: Permissions, parsed: _ParsedRequest) -> Session:
        if not parsed.is_trusted:
            self._admission.check_in_force(permissions)
        return self._admission.create_reader(permissions, parsed.connect_request)

    @contextmanager
    def _hold_request_slot(self, session: Session, parsed: _ParsedRequest) -> Iterator[None]:
        """Count a request until its response is sent. Those of operators are not limited."""
        if parsed.is_trusted:
            yield
            return
        client_key = f"account {session.permissions.account}"
        if session.permissions.account is None:
            address = parsed.credentials.address
            client_key = f"address {client_network(address)}"
        if self._concurrent_requests[client_key] >= MAX_CONCURRENT_REQUESTS:
            raise AuthRefused(
                close_codes.OVERLOADED,
                f"overloaded: more than {MAX_CONCURRENT_REQUESTS} requests at a time",
            )
        self._concurrent_requests[client_key] += 1
        try:
            yield
        finally:
            self._concurrent_requests[client_key] -= 1
            if not self._concurrent_requests[client_key]:
                del self._concurrent_requests[client_key]


def history_router(
    admission: AdmissionController,
    history_reader: HistoryReader,
    admin_access: AdminAccess,
    pool: ConnectionPool,
    *,
    origin_policy: OriginPolicy,
    trusted_proxies: TrustedProxies,
    jitter: Callable[[float], float],
) -> APIRouter:
    """Return the routes of `/history`. With an admin token any `account` is allowed.

    `pool` provides the clock of the rate limit and the start of a drain.
    """
    router = APIRouter(tags=["history"])
    endpoint = _HistoryEndpoint(
        admission,
        history_reader,
        admin_access,
        pool,
        origin_policy=origin_policy,
        trusted_proxies=trusted_proxies,
        jitter=jitter,
    )

    @router.get(
        PATH,
        response_class=Response,
        responses=_RESPONSES,
        dependencies=[Depends(_client_bearer)],
        openapi_extra={"parameters": _PARAMETERS, "security": [{}]},
    )
    async def get_history(request: Request) -> Response:
        """Get a page of a client's own past events."""
        return await endpoint.respond(request)

    @router.options(PATH, include_in_schema=False)
    async def preflight(request: Request) -> Response:
        return client_http.preflight_response(request, origin_policy)

    return router


def _parse_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_EVENTS_PER_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_EVENTS_PER_PAGE))):
        raise BadRequest(f"limit: not a number from 1 to {MAX_EVENTS_PER_PAGE}: {text[:100]!r}")
    if not 1 <= int(text) <= MAX_EVENTS_PER_PAGE:
        raise BadRequest(f"limit: not from 1 to {MAX_EVENTS_PER_PAGE}: {text}")
    return int(text)
