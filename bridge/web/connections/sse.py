"""`GET /events`: Server-Sent Events, for those who only listen.

Rules: the same parameters as for WebSockets and the same way in; but a refusal is an answer of
HTTP. A browser's `EventSource` takes every answer but 200 for the end and never comes back, so
what says "come back later" is told to it on a stream (WHATWG HTML, section 9.2.3).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi.responses import Response

from bridge.core.protocol import frames
from bridge.web.auth.authenticator import Refused, bearer
from bridge.web.connections.connect_request import BadRequest, from_query
from bridge.web.connections.stream import Stream
from bridge.web.http import client_http
from bridge.web.http.problems import problem
from bridge.web.transport import sse_format
from bridge.web.transport.head import TAKE_OVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connect_request import Wish
    from bridge.web.connections.connection import Pipe
    from bridge.web.connections.pool import Sockets

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
