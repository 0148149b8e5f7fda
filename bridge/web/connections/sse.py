"""`GET /events`: Server-Sent Events, with the parameters and the admission of WebSockets.

Rule: a refusal is an HTTP response. A browser's `EventSource` never reconnects after another status
than 200, so "come back later" is sent to it on a stream (WHATWG HTML, section 9.2.3).
"""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import Response

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import AuthRefused
from bridge.web.connections.connect_request import (
    BadRequest,
    complete_credentials,
    parse_query_with_extras,
)
from bridge.web.connections.connection import HIGH_WATER_BYTES, ClientConnection, ConnectionHandler
from bridge.web.http import client_http
from bridge.web.http.head_requests import is_head
from bridge.web.http.problems import openapi_problems, problem_response
from bridge.web.transport import sse_format
from bridge.web.transport.http_protocol import TAKE_OVER_EXTENSION

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.web.auth.client_address import TrustedProxies
    from bridge.web.auth.origins import OriginPolicy
    from bridge.web.connections.admission import (
        AdmissionController,
        AdmissionLimits,
        ClientCounters,
    )
    from bridge.web.connections.connect_request import ConnectRequest
    from bridge.web.connections.pool import ConnectionPool

#: An idle stream gets a comment this often. Proxies would close it otherwise.
COMMENT_INTERVAL_SECONDS: Final = 15.0
_TCP_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
_LAST_CHUNK: Final = b"0\r\n\r\n"


class SseHandler(ConnectionHandler, Protocol):
    """What a stream needs of its endpoint."""

    def cursor(self, session: Session) -> str:
        """Return the cursor that covers exactly what `session` was sent."""


class SseConnection(ClientConnection):
    """Writes one client's event stream."""

    kind = "sse"
    encode_frame = staticmethod(sse_format.encode_frame)

    __slots__ = (
        "_covered_bytes",
        "_endpoint",
        "_id_bytes",
        "_is_chunked",
        "_last_write",
        "is_cursor_due",
    )

    def __init__(self, endpoint: SseHandler) -> None:
        super().__init__(endpoint)
        self._endpoint = endpoint
        self._is_chunked = False
        self._last_write = 0.0
        self._covered_bytes = 0  # bytes up to the newest `id`
        self._id_bytes = 0  # of the newest `id`
        self.is_cursor_due = False

    def take_over(
        self, transport: asyncio.Transport, response_head: bytes, *, is_chunked: bool
    ) -> None:
        """Take over `transport` and send `response_head`."""
        self.transport = transport
        self._is_chunked = is_chunked
        limits = self._handler.limits
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if _TCP_USER_TIMEOUT is not None:
            # The peer must acknowledge data within two heartbeats, but never sooner than the
            # slow-client limit.
            timeout_seconds = max(
                2 * limits.heartbeat_seconds,
                limits.outbox_timeout_seconds + limits.close_timeout_seconds,
            )
            tcp_socket = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # the peer has gone
                tcp_socket.setsockopt(
                    socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(timeout_seconds * 1000)
                )
        self._last_write = self.last_seen = self._handler.now()
        transport.resume_reading()
        transport.write(response_head)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Ignore it: clients of a stream only listen."""
        self.last_seen = self._handler.now()

    # -- writing ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write the outbox, with the cursor that covers it in its last block."""
        session = self.session
        if session is not None and session.is_welcomed and session.outbox.pending_bytes:
            self._add_cursor(session)
        super().flush()

    def _add_cursor(self, session: Session) -> None:
        """Put the cursor into the newest block, or leave it to a heartbeat.

        It waits where it costs more than the frames since the last one: with 1,000 partitions it
        has 12 kB.
        """
        outbox = session.outbox
        queued_bytes = self._written_bytes + outbox.pending_bytes
        self.is_cursor_due = (
            queued_bytes - self._covered_bytes < self._id_bytes
            and not sse_format.is_heartbeat(outbox.newest)
        )
        if self.is_cursor_due:
            return
        id_line = sse_format.encode_id(self._endpoint.cursor(session))
        outbox.insert_before_end(id_line, len(sse_format.BLOCK_END))
        self._id_bytes = len(id_line)
        self._covered_bytes = queued_bytes + self._id_bytes

    def send_keepalive(self, now: float) -> None:
        """Send a comment on an idle stream."""
        if now - self._last_write >= COMMENT_INTERVAL_SECONDS and not self.is_write_paused:
            self._write(sse_format.COMMENT)

    def begin_close(self, close: CloseCode) -> None:
        """End the response; the client has the close timeout to read the rest."""
        super().begin_close(close)
        if self._is_chunked:
            self.transport.write(_LAST_CHUNK)
        self.transport.close()

    def _write(self, data: bytes) -> None:
        self._last_write = self._handler.now()
        if not self._is_chunked:
            super()._write(data)
            return
        chunk_header = b"%x\r\n" % len(data)
        self._written_bytes += len(chunk_header) + len(data) + 2
        self.transport.writelines((chunk_header, data, b"\r\n"))


PATH: Final = "/events"
_LAST_EVENT_ID: Final = "Last-Event-ID"
#: Polyfills of `EventSource` send it so where they cannot set headers.
_LAST_EVENT_ID_PARAMETERS: Final = frozenset({"lastEventId", "lastEventID"})
#: Clients of a broken stream reconnect within this time.
_RECONNECT_SECONDS: Final = 5.0
_STREAM_HEADERS: Final = {
    "Content-Type": sse_format.MEDIA_TYPE,
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class SseEndpoint:
    """Admits clients of event streams."""

    def __init__(
        self,
        hub: Hub,
        admission: AdmissionController,
        pool: ConnectionPool,
        *,
        origin_policy: OriginPolicy,
        trusted_proxies: TrustedProxies,
        limits: AdmissionLimits,
        counters: ClientCounters,
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._pool = pool
        self._origin_policy = origin_policy
        self._trusted_proxies = trusted_proxies
        self._refused_by_reason = counters.refused_by_reason
        self.limits = limits
        self.closes_by_code = counters.closes_by_code
        self.now = pool.now

    # -- for the streams ----------------------------------------------------------------------

    def cursor(self, session: Session) -> str:
        """Return the cursor that covers exactly what `session` was sent."""
        return self._hub.cursor(session)

    def remove(self, connection: ClientConnection, error: Exception | None) -> None:
        """Remove a lost stream."""
        self._pool.remove(connection, error)

    # -- requests -------------------------------------------------------------------------------

    async def handle_request(self, request: Request) -> Response:
        """Open a stream, or return the refusal.

        Cancellation: safe; no client is admitted.
        """
        if (rejection := client_http.reject_origin(request, self._origin_policy)) is not None:
            self._refused_by_reason["origin"] += 1
            return rejection
        response_headers = client_http.response_headers(request, self._origin_policy)
        try:
            hello, last_event_id = _parse_request(request)
            if last_event_id.startswith(sse_format.FINAL_ID_PREFIX):
                return Response(status_code=204, headers=response_headers)
            connect_request = self._admission.parse(hello)
        except BadRequest as error:
            self._refused_by_reason["bad_request"] += 1
            return problem_response(400, str(error), headers=response_headers)
        try:
            return await self._admit(request, hello, connect_request, response_headers)
        except AuthRefused as refused:
            self._refused_by_reason[refused.metric_reason] += 1
            return self._refusal_response(request, refused.close, response_headers)
        except client_http.ClientDisconnected:
            return Response()  # the client has gone

    async def _admit(
        self,
        request: Request,
        hello: frames.Hello,
        connect_request: ConnectRequest,
        response_headers: Mapping[str, str],
    ) -> Response:
        self._admission.check_rate(self.now())
        credentials = client_http.read_credentials(
            request,
            self._trusted_proxies,
            self._origin_policy,
            self._admission.credential_headers,
        )
        self._admission.check_address(credentials.address)
        permissions = self._admission.authenticate(
            complete_credentials(credentials, hello, connect_request)
        )
        if not isinstance(permissions, Permissions):
            permissions = await client_http.wait_unless_disconnected(
                permissions, request, self._pool.drain_started
            )
        connection = SseConnection(self)
        connection.address = credentials.address
        session = self._admission.admit(
            permissions, connect_request, connection.encode_frame, connection, connection.address
        )
        is_started = False
        try:
            if is_head(request):
                response = Response(headers={**_STREAM_HEADERS, **response_headers})
                del response.headers["Content-Length"]  # a stream has no length
                return response
            if self._admission.must_resolve_start(session, connect_request):
                resolving = self._admission.resolve_start(session, connect_request)
                connect_request = await client_http.wait_unless_disconnected(
                    resolving, request, self._pool.drain_started
                )
            is_started = self._start_stream(
                request, connection, session, connect_request, response_headers
            )
        finally:
            if not is_started:
                self._admission.release(session)
        return Response()  # it is not sent: the stream has the connection

    def _start_stream(
        self,
        request: Request,
        connection: SseConnection,
        session: Session,
        connect_request: ConnectRequest,
        response_headers: Mapping[str, str],
    ) -> bool:
        """Take the connection over from HTTP and welcome the client; False if it has gone."""
        take_over = request.scope["extensions"][TAKE_OVER_EXTENSION]
        if take_over.is_reserved:
            raise AuthRefused(closes.OVERLOADED, metric_reason="descriptors")
        detached = take_over()
        if detached is None:
            return False
        is_chunked = request.scope["http_version"] == "1.1"
        connection.take_over(
            detached.transport,
            _response_head(detached.default_headers, response_headers, is_chunked=is_chunked),
            is_chunked=is_chunked,
        )
        connection.session = session
        self._pool.add(connection)
        connection.open()
        session.outbox.append(sse_format.encode_retry(self._hub.jitter(_RECONNECT_SECONDS)))
        self._admission.start(session, connect_request)
        self._pool.flusher.flush()
        return True

    def _refusal_response(
        self, request: Request, close: CloseCode, response_headers: Mapping[str, str]
    ) -> Response:
        self.closes_by_code[close.code] += 1
        closing_frame = self._hub.build_closing(close)
        is_temporary = client_http.http_status(close) == HTTPStatus.SERVICE_UNAVAILABLE
        if is_temporary and _is_browser_event_source(request):
            body = sse_format.encode_frame(frames.encode_frame(closing_frame))
            return Response(body, headers={**_STREAM_HEADERS, **response_headers})
        return client_http.refusal_response(close, closing_frame.retry_after, response_headers)

    def preflight(self, request: Request) -> Response:
        """Return the CORS preflight response."""
        return client_http.preflight_response(request, self._origin_policy)


def _parse_request(request: Request) -> tuple[frames.Hello, str]:
    """Return the parameters of the URL and the headers, and the last event ID.

    Raises:
        BadRequest: If one is unknown, empty or given twice.
    """
    query = request.scope["query_string"].decode("ascii")  # uvicorn takes no other
    hello, extras = parse_query_with_extras(query, _LAST_EVENT_ID_PARAMETERS)
    if len(extras) > 1:
        raise BadRequest(f"{' and '.join(extras)} are the same parameter: send one")
    last_event_id = request.headers.get(_LAST_EVENT_ID) or "".join(extras.values())
    if last_event_id:
        # An `EventSource` reconnects with its first URL.
        hello.cursor, hello.since = last_event_id, None
    return hello, last_event_id


def _is_browser_event_source(request: Request) -> bool:
    """Whether a browser asks, which hides a refusal from the page and never reconnects."""
    headers = request.headers
    return "Sec-Fetch-Mode" in headers and headers.get("Accept") == sse_format.MEDIA_TYPE


def _response_head(
    default_headers: list[tuple[bytes, bytes]],
    response_headers: Mapping[str, str],
    *,
    is_chunked: bool,
) -> bytes:
    """Return the response head; without chunks the connection's end is the body's end."""
    headers = {**_STREAM_HEADERS, **response_headers, "Connection": "close"}
    if is_chunked:
        headers["Transfer-Encoding"] = "chunked"
    lines = [b"HTTP/1.1 200 OK", *(b"%b: %b" % field for field in default_headers)]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in headers.items()]
    return b"\r\n".join([*lines, b"", b""])


_QUERY_DESCRIPTIONS: Final = {
    "topics": "Topics with commas between them; absent: every topic that may be read unnamed",
    "rooms": "Rooms to be in, with commas between them",
    "types": "Event types to be sent; one with `*` at its end is a prefix; absent: all",
    "cursor": "Resume from here; positions seen since may follow, each behind a comma",
    "since": "An RFC 3339 time to replay from; not together with a cursor",
    "lastEventId": "As the header `Last-Event-ID`, which wins; `lastEventID` is the same",
    "token": "The credential, where no `Authorization` header can be set",
    "account": "Who the client is, only where authentication is off",
}


def _parameter(name: str, description: str, location: str = "query") -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": location,
        "required": False,
        "description": description,
        "schema": schema,
    }


_PARAMETERS: Final = [
    *(_parameter(name, about) for name, about in _QUERY_DESCRIPTIONS.items()),
    _parameter("Last-Event-ID", "A cursor; it wins over `cursor` and `since`", "header"),
    _parameter("Authorization", "`Bearer` and the credential; it wins over `token`", "header"),
]
_RESPONSE_HEADERS: Final = {
    "Cache-Control": {"description": "`no-store, no-transform`", "schema": {"type": "string"}},
    "X-Accel-Buffering": {"description": "`no`: for nginx", "schema": {"type": "string"}},
}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events as they happen, until either side ends it. A browser's"
        " `EventSource` gets a 200 instead of a 503 too: a `closing` event and the end.",
        "headers": _RESPONSE_HEADERS,
        "content": {sse_format.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    204: {"description": "Its last stream was closed for good: do not come back by yourself"},
    **openapi_problems(
        {
            400: "A parameter is unknown, empty, given twice or malformed; a garbled cursor",
            401: "No credential, or a wrong one",
            403: "The host, the origin, a topic or a room is not allowed",
            503: "Come back later, or to another instance; `Retry-After` says how long",
        }
    ),
}


def events_router(endpoint: SseEndpoint) -> APIRouter:
    """Return the routes of event streams."""
    router = APIRouter(tags=["events"])

    @router.get(
        PATH,
        response_class=Response,
        responses=_RESPONSES,
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def listen(request: Request) -> Response:
        """Listen: frames as Server-Sent Events, each named by its `op`; the `id` is a cursor."""
        return await endpoint.handle_request(request)

    @router.options(PATH, include_in_schema=False)
    async def preflight(request: Request) -> Response:
        return endpoint.preflight(request)

    return router
