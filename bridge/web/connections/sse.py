"""`GET /events`: Server-Sent Events, for those who only listen.

Rules: the same parameters as for WebSockets and the same way in; but a refusal is an answer of
HTTP. A browser's `EventSource` takes every answer but 200 for the end and never comes back, so
what says "come back later" is told to it on a stream (WHATWG HTML, section 9.2.3).
"""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from fastapi import APIRouter, Request
from fastapi.responses import Response

from bridge.core.protocol import frames
from bridge.web.auth.authenticator import Refused, bearer
from bridge.web.connections.connect_request import BadRequest, from_query
from bridge.web.connections.connection import HIGH_WATER_BYTES, Keeper, Pipe
from bridge.web.http import client_http
from bridge.web.http.problems import described, problem
from bridge.web.transport import sse_format
from bridge.web.transport.http_protocol import TAKE_OVER

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connect_request import Wish
    from bridge.web.connections.pool import Sockets

#: On a stream without events something goes out as often, for proxies that would take it for dead.
COMMENT_SECONDS: Final = 15.0
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Owner(Keeper, Protocol):
    """What a stream asks of those who have opened it."""

    def cursor(self, session: Session) -> str:
        """The cursor that covers exactly what `session` has been handed."""


class Stream(Pipe):
    """One client's event stream."""

    kind = "sse"
    wrap = staticmethod(sse_format.wrap)

    __slots__ = ("_chunked", "_owner", "_spoke")

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._owner = owner
        self._chunked = False
        self._spoke = 0.0

    def take(self, transport: asyncio.Transport, head: bytes, *, chunked: bool) -> None:
        """Take over `transport`, and answer with `head`."""
        self.transport = transport
        self._chunked = chunked
        limits = self._keeper.limits
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if _USER_TIMEOUT is not None:
            # What is sent has to be acknowledged within two heartbeats; who reads slowly has as
            # long as for its outbox.
            seconds = max(2 * limits.heartbeat, limits.outbox_seconds + limits.close_seconds)
            connection = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has gone
                connection.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))
        self._spoke = self.heard = self._keeper.now()
        transport.write(head)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Pass over it: a client that is known here only listens."""
        self.heard = self._keeper.now()

    # -- writing ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what was queued, and behind it the cursor that covers it."""
        session = self.session
        if session is not None and session.welcomed and session.outbox.pending:
            session.outbox.force(sse_format.mark(self._owner.cursor(session)))
        super().flush()

    def tend(self, now: float) -> None:
        """Let something be seen on a stream on which nothing happens."""
        if now - self._spoke >= COMMENT_SECONDS and not self.paused:
            self._write(sse_format.COMMENT)

    def say_goodbye(self, why: Close) -> None:
        """End the answer; the client has some seconds to read the rest."""
        super().say_goodbye(why)
        if self._chunked:
            self.transport.write(_LAST_CHUNK)
        self.transport.close()

    def _write(self, data: bytes) -> None:
        self._spoke = self._keeper.now()
        if not self._chunked:
            super()._write(data)
            return
        size = b"%x\r\n" % len(data)
        self._taken += len(size) + len(data) + 2
        self.transport.writelines((size, data, b"\r\n"))


PATH: Final = "/events"
_LAST_EVENT_ID: Final = "Last-Event-ID"
#: Seconds within which clients come back to a stream that broke.
_RETRY_SECONDS: Final = 5.0
_HEAD: Final = {
    "Content-Type": sse_format.MEDIA_TYPE,
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class Streams:
    """Lets in everybody who comes for an event stream; `sockets` looks after them."""

    def __init__(self, entrance: Entrance, sockets: Sockets) -> None:
        self._entrance = entrance
        self._hub = entrance.hub
        self._sockets = sockets
        self.limits = entrance.limits
        self.closes = entrance.closes
        self.now = sockets.now

    # -- what a stream asks ----------------------------------------------------------------------

    def cursor(self, session: Session) -> str:
        """Return the cursor that covers exactly what `session` has been handed."""
        return self._hub.cursor(session)

    def forget(self, pipe: Pipe, why: Exception | None) -> None:
        """Let go of a stream that is gone."""
        self._sockets.forget(pipe, why)

    # -- answering -------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        """Open a stream, or say why not.

        Cancellation: safe; nobody is let in.
        """
        if (turned_away := client_http.turned_away(request, self._entrance.doors)) is not None:
            self._entrance.refused["origin"] += 1
            return turned_away
        shared = client_http.shared(request)
        if request.headers.get(_LAST_EVENT_ID, "").startswith(sse_format.FINAL):
            return Response(status_code=204, headers=shared)
        try:
            hello = _hello(request)
            wish = self._entrance.wish(hello)
        except BadRequest as error:
            self._entrance.refused["bad_request"] += 1
            return problem(400, str(error), headers=shared)
        try:
            return await self._let_in(request, hello, wish, shared)
        except Refused as refused:
            self._entrance.refused[refused.word] += 1
            return self._refusal(request, refused.close, shared)
        except client_http.Vanished:
            return Response()  # nobody is there to read it

    async def _let_in(
        self, request: Request, hello: frames.Hello, wish: Wish, shared: Mapping[str, str]
    ) -> Response:
        self._entrance.knock(self.now())
        missing = self._entrance.missing(hello.token)
        if missing is not None:
            await client_http.unless_gone(missing, request, self._sockets.leaving)
        stream = Stream(self)
        peer = request.client.host if request.client is not None else ""
        forwarded = request.headers.getlist("X-Forwarded-For")
        stream.address = self._entrance.proxies.client(peer, forwarded)
        session = self._entrance.admit(hello, wish, stream.wrap, stream, stream.address)
        opened = False
        try:
            if request.method == "HEAD":
                head = Response(headers={**_HEAD, **shared})
                del head.headers["Content-Length"]  # nobody knows it
                return head
            if self._entrance.must_ask(session, wish):
                finding = self._entrance.find(session, wish)
                wish = await client_http.unless_gone(finding, request, self._sockets.leaving)
            opened = self._open(request, stream, session, wish, shared)
        finally:
            if not opened:
                self._entrance.leave(session)
        return Response()  # it goes nowhere: the stream has the connection

    def _open(
        self,
        request: Request,
        stream: Stream,
        session: Session,
        wish: Wish,
        shared: Mapping[str, str],
    ) -> bool:
        """Take the connection over from HTTP, and welcome the client; tell whether it is there."""
        taken = request.scope["extensions"][TAKE_OVER]()
        if taken is None:
            return False
        chunked = request.scope["http_version"] == "1.1"
        stream.take(taken.transport, _head(taken.headers, shared, chunked=chunked), chunked=chunked)
        stream.session = session
        self._sockets.add(stream)
        stream.open()
        session.outbox.force(sse_format.retry(self._hub.jitter(_RETRY_SECONDS)))
        self._entrance.welcome(session, wish)
        self._sockets.flush()
        return True

    def _refusal(self, request: Request, why: Close, shared: Mapping[str, str]) -> Response:
        self.closes[why.code] += 1
        farewell = self._hub.farewell(why)
        later = client_http.status(why) == HTTPStatus.SERVICE_UNAVAILABLE
        if later and _is_event_source(request):
            told = sse_format.wrap(frames.write(farewell))
            return Response(told, headers={**_HEAD, **shared})
        return client_http.refusal(why, farewell.retry_after, shared)

    def preflight(self, request: Request) -> Response:
        """Say what another origin's page may send, where it may send anything."""
        return client_http.preflight(
            request,
            self._entrance.doors,
            methods="GET, HEAD",
            headers=f"Authorization, Cache-Control, {_LAST_EVENT_ID}",
        )


def _hello(request: Request) -> frames.Hello:
    """What the client asks for, by its URL and its headers."""
    hello = from_query(request.scope["query_string"].decode("ascii"))  # uvicorn takes no other
    hello.token = bearer(request.headers.get("Authorization")) or hello.token
    if last := request.headers.get(_LAST_EVENT_ID):
        # An `EventSource` comes back by the URL that it began with.
        hello.cursor, hello.since = last, None
    return hello


def _is_event_source(request: Request) -> bool:
    """Whether it is a browser's, which tells nobody why it was refused, and gives up."""
    headers = request.headers
    return "Sec-Fetch-Mode" in headers and headers.get("Accept") == sse_format.MEDIA_TYPE


def _head(usual: list[tuple[bytes, bytes]], shared: Mapping[str, str], *, chunked: bool) -> bytes:
    """Return the head of the answer; without chunks the end of the connection is its end."""
    own = {**_HEAD, **shared, "Connection": "close"}
    if chunked:
        own["Transfer-Encoding"] = "chunked"
    lines = [b"HTTP/1.1 200 OK", *(b"%b: %b" % field for field in usual)]
    lines += [f"{name}: {value}".encode("latin-1") for name, value in own.items()]
    return b"\r\n".join([*lines, b"", b""])


_QUERY: Final = {
    "topics": "Topics with commas between them; absent: every topic that may be read unnamed",
    "rooms": "Rooms to be in, with commas between them",
    "types": "Event types to be sent; one with `*` at its end is a prefix; absent: all",
    "cursor": "Resume from here; positions seen since may follow, each behind a comma",
    "since": "An RFC 3339 time to replay from; not together with a cursor",
    "token": "The credential, where no `Authorization` header can be set",
    "account": "Who the client is, only where authentication is off",
}


def _parameter(name: str, about: str, place: str = "query") -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {"name": name, "in": place, "required": False, "description": about, "schema": text}


_PARAMETERS: Final = [
    *(_parameter(name, about) for name, about in _QUERY.items()),
    _parameter("Last-Event-ID", "A cursor; it wins over `cursor` and `since`", "header"),
    _parameter("Authorization", "`Bearer` and the credential; it wins over `token`", "header"),
]
_HEADERS: Final = {
    "Cache-Control": {"description": "`no-store`", "schema": {"type": "string"}},
    "X-Accel-Buffering": {"description": "`no`: for nginx", "schema": {"type": "string"}},
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events as they happen, until either side ends it. A browser's"
        " `EventSource` gets a 200 instead of a 503 too: a `closing` event and the end.",
        "headers": _HEADERS,
        "content": {sse_format.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    204: {"description": "Its last stream was closed for good: do not come back by yourself"},
    **described(
        {
            400: "A parameter is unknown, empty, given twice or malformed; a garbled cursor",
            401: "No credential, or a wrong one",
            403: "The host, the origin, a topic or a room is not allowed",
            503: "Come back later, or to another instance; `Retry-After` says how long",
        }
    ),
}


def events(streams: Streams) -> APIRouter:
    """Return the routes of event streams."""
    router = APIRouter(tags=["events"])

    @router.get(
        PATH,
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def listen(request: Request) -> Response:
        """Listen: frames as Server-Sent Events, each named by its `op`; the `id` is a cursor."""
        return await streams.answer(request)

    @router.head(PATH, include_in_schema=False)
    async def look(request: Request) -> Response:
        return await streams.answer(request)

    @router.options(PATH, include_in_schema=False)
    async def preflight(request: Request) -> Response:
        return streams.preflight(request)

    return router
