"""Plain HTTP connections: one request at a time, each of its steps with a deadline.

Rule: a read takes at most `READ_BYTES`, and the next request is read after the answer. So what a
connection costs in memory, and in one turn of the event loop, is bounded.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast
from urllib.parse import unquote

from bridge.web.http.problems import encode_problem
from bridge.web.transport import ws_handshake
from bridge.web.transport.http_request import (
    CHUNKS_PER_TURN,
    BadRequestHead,
    BodyReader,
    HeadReader,
    RequestHead,
)
from bridge.web.transport.uvicorn_internals import (
    FlowControl,
    RequestResponseCycle,
    get_local_addr,
    get_remote_addr,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.web.transport.http_connections import HttpConnections
    from bridge.web.transport.uvicorn_internals import Config, ServerState

READ_BYTES: Final = 16 * 1024
HEAD_TIMEOUT_SECONDS: Final = 10.0
BODY_TIMEOUT_SECONDS: Final = 10.0
# A client that was answered may still send this much. So it can read the answer before the end.
_LINGER_BYTES: Final = 4 * 1024 * 1024
_LINGER_SECONDS: Final = 2.0
#: Of a body that was answered early, this much is parsed, in search of the next request.
_LATE_BODY_BYTES: Final = 64 * 1024
_BODY_BUFFER_BYTES: Final = 64 * 1024
NO_DESCRIPTORS: Final = "this instance has no room for more clients: try another one"
_ENDING: Final = "this instance ends: repeat the request at another one"
_RETRY: Final = {"Retry-After": "1"}
#: The ASGI extension with the `TakeOver` of a request's connection.
TAKE_OVER_EXTENSION: Final = "push_bridge.take_over"

_error_log: Final = logging.getLogger("uvicorn.error")
# All connections read into it: each copies what it got before the next one reads.
_read_buffer: Final = memoryview(bytearray(READ_BYTES))


class DetachedConnection(NamedTuple):
    """A connection, and the headers that every response has."""

    transport: asyncio.Transport
    default_headers: list[tuple[bytes, bytes]]


class TakeOver:
    """Takes a connection away from HTTP, for a response that is not written by ASGI."""

    __slots__ = ("_cycle", "_http", "is_reserved")

    def __init__(self, http: HttpProtocol, cycle: RequestCycle, *, is_reserved: bool) -> None:
        # Weak: both hold the scope, which holds this.
        self._http = weakref.ref(http)
        self._cycle = weakref.ref(cycle)
        #: Whether its descriptor is one of those that streams may not keep.
        self.is_reserved = is_reserved

    def __call__(self) -> DetachedConnection | None:
        """Return the connection, which HTTP then forgets; None if it is lost.

        The ASGI response of the application is discarded from then on.
        """
        http, cycle = self._http(), self._cycle()
        if http is None or cycle is None or cycle.disconnected or http.transport.is_closing():
            return None
        cycle.disconnected = True
        return http.detach()


class RequestCycle(RequestResponseCycle):
    """One request in the application, without a traceback if its client or the instance ends.

    The connection is closed by `HttpProtocol`, which knows whether the request is over.
    """

    closes = False  #: Whether the response has announced the end of the connection.

    async def send(self, message: Any) -> None:  # noqa: ANN401 - ASGI's own
        """Send one message of the application."""
        if self.waiting_for_100_continue:
            self.keep_alive = False  # nobody knows whether the body comes (RFC 9110, 10.1.1)
        await super().send(message)
        if self.response_started and not self.keep_alive:
            self.closes, self.keep_alive = True, True

    async def run_asgi(self, app: Callable[..., Any]) -> None:
        """Run `app`; answer 503 if the instance ends first."""

        async def run_until_end(*arguments: Any) -> None:  # noqa: ANN401 - ASGI's own
            try:
                await app(*arguments)
            except asyncio.CancelledError:
                self.end_early()
            except Exception:
                if not self.disconnected:
                    raise

        await super().run_asgi(run_until_end)

    def end_early(self) -> None:
        """Answer 503 if no answer has begun, and end the connection."""
        if self.disconnected or self.response_complete:
            return
        if self.response_started:
            self.transport.abort()
        else:
            self.transport.write(encode_problem(503, _ENDING, _RETRY))
            self.transport.close()
        self.disconnected = True
        self.message_event.set()


class _Step(enum.Enum):
    """What a connection waits for."""

    IDLE = enum.auto()  # the first byte of a request
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()
    END = enum.auto()  # the client's end: it was refused


class HttpProtocol(asyncio.BufferedProtocol):
    """Reads requests, and runs the application for one at a time."""

    def __init__(
        self, config: Config, server_state: ServerState, connections: HttpConnections
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._flow: FlowControl = cast("FlowControl", None)
        self._step = _Step.IDLE
        self._head_reader = HeadReader()
        self._body_reader: BodyReader | None = None
        self._cycle: RequestCycle | None = None
        self._next_request = b""  # read before the answer to this one
        self._is_counted = False
        self._is_slowed = False
        self._late_body_bytes = 0
        self._linger_bytes = _LINGER_BYTES
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._unsent_bytes = 0
        self._unsent_since = 0.0

    # -- asyncio.BufferedProtocol ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and start the deadline of its first head."""
        self.transport = cast("asyncio.Transport", transport)
        self._flow = FlowControl(self.transport)
        self._server_state.connections.add(cast("Any", self))  # uvicorn calls `shutdown` of each
        self._step = _Step.HEAD
        self._deadline = self._loop.time() + HEAD_TIMEOUT_SECONDS
        self._start_timer()
        self._is_counted = self._connections.add(self)
        if not self._is_counted:
            self._refuse(503, "too many HTTP connections (BRIDGE_LIMITS__HTTP_CONNECTIONS)", _RETRY)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's own
        """Return the buffer of all connections."""
        return _read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Handle what was read."""
        self.feed(bytes(_read_buffer[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Tell the application that its client has gone."""
        self._forget()
        if self._cycle is not None and not self._cycle.response_complete:
            self._cycle.disconnected = True
            self._cycle.message_event.set()
        self._flow.resume_writing()

    def pause_writing(self) -> None:
        """Let the application wait before its next write."""
        self._flow.pause_writing()

    def resume_writing(self) -> None:
        """Let the application write again: the client has read."""
        self._unsent_since = self._loop.time()
        self._flow.resume_writing()

    # -- for the server --------------------------------------------------------------------------

    def shutdown(self) -> None:
        """End: without a request at once, else with the answer, or 503 if it is not all here."""
        cycle = self._cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()
        elif self._step is _Step.BODY and not cycle.response_started:
            cycle.end_early()
        elif cycle.response_started:
            cycle.closes = True
        else:
            cycle.keep_alive = False

    def detach(self) -> DetachedConnection:
        """Give up the connection, which is not read from; pipelined requests get no response."""
        self._forget()
        self._cycle = None  # it holds this
        release(self.transport)
        return DetachedConnection(self.transport, self._server_state.default_headers)

    # -- reading ---------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Handle `data`, at most `READ_BYTES` and what was left of the last read."""
        if self.transport.is_closing():
            return
        if self._step is _Step.END:
            self._count_discarded(len(data))
            return
        try:
            if self._step is _Step.BODY:
                self._read_body(data)
            elif self._step is _Step.ANSWER:
                self._next_request += data
                self._flow.pause_reading()
            elif data:
                self._read_head(data)
        except BadRequestHead as error:
            self._connections.count_refused(
                "head_too_large" if error.status == 431 else "bad_request"  # noqa: PLR2004
            )
            self._refuse(error.status, error.detail)

    def _read_head(self, data: bytes) -> None:
        if self._step is _Step.IDLE:
            self._step = _Step.HEAD
            self._set_deadline(HEAD_TIMEOUT_SECONDS)
        if (found := self._head_reader.feed(data)) is None:
            return
        head, rest = found
        self._head_reader = HeadReader()
        if ws_handshake.is_upgrade(head) and self._config.ws_protocol_class is not None:
            self._open_websocket(head, rest)
            return
        self._connections.mark_busy(self)
        self._late_body_bytes = _LATE_BODY_BYTES
        self._body_reader = BodyReader(head)
        self._step = _Step.BODY
        self._set_deadline(BODY_TIMEOUT_SECONDS)
        self._start_cycle(head)
        self._read_body(rest)

    def _read_body(self, data: bytes) -> None:
        reader, cycle = self._body_reader, self._cycle
        if reader is None or cycle is None:
            return
        pieces, rest = ([], data) if reader.is_complete else reader.feed(data)
        if cycle.response_complete:
            self._late_body_bytes -= len(data)
            if self._late_body_bytes < 0:
                self._linger()
                return
        elif pieces:
            self._set_deadline(BODY_TIMEOUT_SECONDS)
            cycle.body += b"".join(pieces)
            cycle.message_event.set()
            if len(cycle.body) > _BODY_BUFFER_BYTES:
                self._flow.pause_reading()
        if reader.is_complete:
            self._next_request = rest
            self._body_reader = None
            self._step = _Step.ANSWER
            self._deadline = math.inf
            if cycle.response_complete:
                self._start_next()
                return
            cycle.more_body = False
            cycle.message_event.set()
            if rest:
                self._flow.pause_reading()
        elif len(pieces) > CHUNKS_PER_TURN and not self._flow.read_paused:
            self._flow.pause_reading()  # libuv would read on in this turn of the loop
            self._loop.call_soon(self._flow.resume_reading)

    def _open_websocket(self, head: RequestHead, rest: bytes) -> None:
        if rest or head.body_bytes != 0:
            raise BadRequestHead(400, "nothing may follow a handshake before its answer")
        if not self._connections.may_stream(self.transport):
            self._connections.count_refused("descriptors")
            self._refuse(503, NO_DESCRIPTORS, _RETRY)
            return
        self._forget()
        connection: Any = cast("Any", self._config.ws_protocol_class)()
        hand_over(self.transport, connection)
        connection.negotiate_handshake(head)

    # -- answering -------------------------------------------------------------------------------

    def _start_cycle(self, head: RequestHead) -> None:
        path, _, query = head.target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": head.http_version,
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "scheme": "http",
            "method": head.method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": head.headers,
            "state": {},
        }
        self._cycle = cycle = RequestCycle(
            scope=cast("Any", scope),
            transport=self.transport,
            flow=self._flow,
            logger=_error_log,
            access_logger=_error_log,
            access_log=False,  # tokens are in URLs
            default_headers=self._server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=head.elements(b"expect") == [b"100-continue"],
            keep_alive=head.keeps_alive,
            on_response=self._end_answer,
        )
        is_reserved = not self._connections.may_stream(self.transport)
        scope["extensions"] = {TAKE_OVER_EXTENSION: TakeOver(self, cycle, is_reserved=is_reserved)}
        task = self._loop.create_task(cycle.run_asgi(self._config.loaded_app))
        task.add_done_callback(self._server_state.tasks.discard)
        self._server_state.tasks.add(task)

    def _end_answer(self) -> None:
        """Go on with the next request, once the body of this one is over."""
        cycle = self._cycle
        if self.transport.is_closing() or cycle is None:
            return
        if self._step is _Step.ANSWER and cycle.closes:
            self.transport.close()
        elif self._step is _Step.ANSWER:
            self._flow.resume_reading()
            # In its own turn of the loop: pipelined requests do not hold up other connections.
            self._loop.call_soon(self._start_next)
        elif cycle.closes:
            self._linger()
        else:
            self._connections.mark_idle(self)  # what is left of the body is read, and discarded
            self._flow.resume_reading()
            self._set_deadline(BODY_TIMEOUT_SECONDS)

    def _start_next(self) -> None:
        if self.transport.is_closing() or self._step is not _Step.ANSWER:
            return
        self._connections.mark_idle(self)
        self._step = _Step.IDLE
        self._cycle = None
        self._set_deadline(self._connections.limits.keepalive_seconds)
        data, self._next_request = self._next_request, b""
        if data:
            self.feed(data)

    def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        """Answer with a problem, if no answer has begun, and end."""
        cycle = self._cycle
        if cycle is not None:
            if cycle.response_started:
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(encode_problem(status, detail, headers))
        self._linger()

    def _linger(self) -> None:
        """Read on for a moment, then end.

        If it closed at once, the kernel would discard the answer along with what is unread.
        """
        self._step = _Step.END
        if self._is_counted:
            self._connections.mark_idle(self)
        self._head_reader, self._body_reader, self._next_request = HeadReader(), None, b""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._flow.resume_reading()
        self._set_deadline(_LINGER_SECONDS)

    def _count_discarded(self, size: int) -> None:
        self._linger_bytes -= size
        if self._linger_bytes < 0:
            self.transport.abort()

    # -- deadlines -------------------------------------------------------------------------------

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._deadline:
            self._timer.cancel()
            self._start_timer()

    def _start_timer(self) -> None:
        self._timer = self._loop.call_at(self._next_check(), self._check_deadlines)

    def _next_check(self) -> float:
        """Return when to look again; an answer's progress is looked at four times a deadline."""
        return min(
            self._deadline, self._loop.time() + self._connections.limits.answer_timeout_seconds / 4
        )

    def _check_deadlines(self) -> None:
        now = self._loop.time()
        unsent_bytes = self.transport.get_write_buffer_size()
        if not unsent_bytes or unsent_bytes < self._unsent_bytes or not self._unsent_bytes:
            self._unsent_since = now
        self._unsent_bytes = unsent_bytes
        if now - self._unsent_since >= self._connections.limits.answer_timeout_seconds:
            self._cut_off("answer_timeout")
        elif now < self._deadline:
            self._start_timer()
        elif self._is_our_turn():
            self._deadline = now + BODY_TIMEOUT_SECONDS
            self._start_timer()
        elif self._step is _Step.BODY:
            self._connections.count_refused("body_timeout")
            self._refuse(408, f"no byte of the body for {BODY_TIMEOUT_SECONDS:g} s")
            if not self.transport.is_closing():
                self._start_timer()
        elif self._step is _Step.HEAD:
            self._cut_off("head_timeout")
        else:
            self.transport.abort()

    def _is_our_turn(self) -> bool:
        """Whether the application has to act, or the answer is still on its way."""
        is_body_wanted = not self._flow.read_paused and not (
            self._cycle is not None and self._cycle.waiting_for_100_continue
        )
        return bool(self._unsent_bytes) or (self._step is _Step.BODY and not is_body_wanted)

    def _cut_off(self, reason: str) -> None:
        self._connections.count_refused(reason)
        self.transport.abort()

    def _forget(self) -> None:
        self._server_state.connections.discard(cast("Any", self))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_counted:
            self._is_counted = False
            self._connections.remove(self)


class FirstBytesProtocol(asyncio.BufferedProtocol):
    """A connection that has sent nothing yet."""

    __slots__ = ("_config", "_connections", "_first_bytes_timer", "_server_state", "transport")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        *,
        connections: HttpConnections,
        **_: Any,  # noqa: ANN401 - uvicorn's own
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._connections = connections
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._first_bytes_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit of the first bytes, unless descriptors run out."""
        self.transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(cast("Any", self))  # uvicorn calls `shutdown` of each
        if not self._connections.may_serve(transport):
            self._connections.count_refused("descriptors")
            self.transport.write(encode_problem(503, NO_DESCRIPTORS, _RETRY))
            self.transport.close()
            return
        self._connections.add_silent(self)
        loop = asyncio.get_running_loop()
        self._first_bytes_timer = loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.abort)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's own
        """Return the buffer of all connections."""
        return _read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Hand the connection and these bytes to the WebSocket or the HTTP protocol."""
        data = bytes(_read_buffer[:nbytes])
        self._stop_waiting()
        create_connection: Any = (
            self._config.ws_protocol_class
        )  # ours; None where only HTTP is served
        handshake = None
        if create_connection is not None and self._connections.may_stream(self.transport):
            handshake = ws_handshake.try_fast_handshake(data)
        if handshake is None:
            http_protocol = HttpProtocol(self._config, self._server_state, self._connections)
            self.transport.set_protocol(http_protocol)
            http_protocol.connection_made(self.transport)
            http_protocol.feed(data)
        else:
            connection = create_connection()
            hand_over(self.transport, connection)
            connection.start_handshake(*handshake)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Stop the time limit."""
        self._stop_waiting()

    def shutdown(self) -> None:
        """Close: the server ends."""
        self.transport.close()

    def _stop_waiting(self) -> None:
        self._server_state.connections.discard(cast("Any", self))
        self._connections.remove_silent(self)
        if self._first_bytes_timer is not None:
            self._first_bytes_timer.cancel()
            self._first_bytes_timer = None


class _NoProtocol(asyncio.BufferedProtocol):
    """What a transport has between HTTP and a stream."""

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's own
        return _read_buffer


_no_protocol: Final = _NoProtocol()


def release(transport: asyncio.Transport) -> None:
    """Stop reading, and let the transport forget its buffered protocol.

    uvloop chooses between buffered and plain reads when reading starts. It keeps the methods of its
    last buffered protocol, and so the protocol.
    """
    transport.pause_reading()
    transport.set_protocol(_no_protocol)


def hand_over(transport: asyncio.Transport, connection: asyncio.Protocol) -> None:
    """Let `connection` have the transport of a buffered protocol."""
    release(transport)
    transport.set_protocol(connection)
    connection.connection_made(transport)
    transport.resume_reading()
