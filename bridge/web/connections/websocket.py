"""The WebSocket endpoint: handshakes, admission, client messages and token refresh.

Rule: clients are refused after the upgrade, with a close code. Browsers hide HTTP responses to a
WebSocket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from msgspec import UNSET

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.core.protocol.frames import Subscribe
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.requests import ClientRequests, FrameAllowance
from bridge.web.auth.authenticator import NO_CREDENTIALS, AuthRefused, Credentials, parse_bearer
from bridge.web.auth.origins import log_refused_origin
from bridge.web.connections.connect_request import (
    BadRequest,
    UrlRequest,
    complete_credentials,
    parse_websocket_query,
)
from bridge.web.connections.connection import (
    HIGH_WATER_BYTES,
    ClientConnection,
    ConnectionHandler,
    Phase,
    PhaseTrigger,
)
from bridge.web.connections.permission_updates import PermissionUpdates
from bridge.web.connections.turns import (
    CONNECTION_SECONDS,
    FRAMES_PER_TURN,
    AcceptThrottle,
    FrameTurns,
)
from bridge.web.http.counted_log import CountedLog
from bridge.web.transport import ws_framing, ws_handshake
from bridge.web.transport.ws_framing import FrameParser, ProtocolViolation
from bridge.web.transport.ws_handshake import UpgradeRefusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    from bridge.web.transport.http_request import RequestHead
    from bridge.web.transport.ws_handshake import UpgradeRequest
    from bridge.web.upstream import Upstream

_log = logging.getLogger(__name__)

#: Frames that a client may send before its welcome, fragments and control frames included.
MAX_FRAMES_BEFORE_WELCOME: Final = 64
#: A connection beyond its allowance is read from again after at least this: several frames at once.
_MIN_HOLD_SECONDS: Final = 0.05
#: Who used less of its allowance is served before others: 20 frames of 200 a second.
_SPARING_SECONDS: Final = 0.1
#: Replies beyond this are written before the next frame is handled.
_REPLY_BYTES: Final = 64 * 1024
#: Such a client has broken the contract or the protocol. What it sends after that is not parsed.
_MISBEHAVING_CODES: Final = frozenset(
    {closes.MISBEHAVING.code, ws_framing.PROTOCOL_ERROR, ws_framing.INVALID_PAYLOAD}
)
_HANDLING_PHASES: Final = (Phase.AWAITING_HELLO, Phase.OPEN)


_NO_STATUS_RECEIVED = 1005  # what a close frame without a code stands for (RFC 6455, 7.4.1)


class WebSocketHandler(ConnectionHandler, Protocol):
    """What a WebSocket connection needs of its endpoint."""

    accept_throttle: AcceptThrottle
    frame_turns: FrameTurns

    def check_upgrade(self, upgrade_request: UpgradeRequest) -> UrlRequest | UpgradeRefusal:
        """Return what the URL asks for, or the refusal of the handshake."""

    def accept(
        self,
        connection: WebSocketConnection,
        upgrade_request: UpgradeRequest,
        url_request: UrlRequest,
    ) -> None:
        """Add an upgraded connection."""

    def handle_message(self, connection: WebSocketConnection, text: bytes | None) -> None:
        """Handle one message; None stands for a binary one."""

    def flush(self) -> None:
        """Write the replies to the messages that were handled."""

    def handle_violation(
        self, connection: WebSocketConnection, violation: ProtocolViolation
    ) -> None:
        """Close a connection that violated RFC 6455."""


class WebSocketConnection(ClientConnection):
    """Reads and writes one client's WebSocket."""

    kind = "websocket"
    encode_frame = staticmethod(ws_framing.encode_text)

    __slots__ = (
        "_allowance",
        "_endpoint",
        "_frame_parser",
        "_frames_before_welcome",
        "_hold_timer",
        "_is_ignoring",
        "_is_waiting_for_turn",
        "client_requests",
        "credentials",
    )

    def __init__(self, endpoint: WebSocketHandler) -> None:
        super().__init__(endpoint)
        self._endpoint = endpoint
        self._frame_parser: FrameParser | None = None  # from the first frame on, to the last
        self._allowance: FrameAllowance | None = None
        self._frames_before_welcome = 0
        self._hold_timer: asyncio.TimerHandle | None = None  # while it is beyond its allowance
        self._is_waiting_for_turn = False
        self._is_ignoring = False  # whether it broke the protocol, and is not parsed any more
        self.client_requests: ClientRequests | None = None
        self.credentials = NO_CREDENTIALS  # from the headers, until they are checked

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport after the first bytes."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop the frames that were not handled."""
        self._stop_parsing()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Stop reading too: a client that does not read cannot request more replies."""
        super().pause_writing()
        self._update_reading()

    def resume_writing(self) -> None:
        """Resume writing and reading; the silence of the client counts from now on."""
        self.is_write_paused = False
        if self.phase is not Phase.CLOSED:
            self.last_seen = self._handler.now()
            self.flush()
            self.handle_pending()

    def data_received(self, data: bytes) -> None:
        """Handle the first frames of what the client sent; the others have to wait."""
        self.last_seen = self._handler.now()
        if self._frame_parser is None:
            if self._is_ignoring:
                self._hold(0.0)  # dropping a flood costs time, too
                self._update_reading()
                return
            self._frame_parser = FrameParser(self._handler.limits.max_frame_bytes)
        self._frame_parser.feed(data)
        self.handle_pending()

    # -- the handshake ---------------------------------------------------------------------------

    def start_handshake(
        self,
        upgrade_request: UpgradeRequest,
        response: bytes,
        url_request: UrlRequest | None = None,
    ) -> None:
        """Accept a request with `response`; without `url_request`, check the request first."""
        if not self._endpoint.accept_throttle.submit(
            partial(self._complete_handshake, upgrade_request, response, url_request)
        ):
            self.transport.pause_reading()

    def _complete_handshake(
        self, upgrade_request: UpgradeRequest, response: bytes, checked: UrlRequest | None
    ) -> None:
        self.transport.resume_reading()  # a client that left meanwhile is noticed from here on
        self.last_seen = self._handler.now()
        url_request = checked or self._endpoint.check_upgrade(upgrade_request)
        if isinstance(url_request, UpgradeRefusal):
            self._reject_handshake(ws_handshake.encode_refusal(url_request))
            return
        self._write_prefix = response  # goes out with the first frame, if there is one at once
        self._endpoint.accept(self, upgrade_request, url_request)
        if self._write_prefix:
            self._write(b"")

    def negotiate_handshake(self, head: RequestHead) -> None:
        """Check a handshake that is not an ordinary one, then answer it."""
        url_request: UrlRequest | None = None

        def find_refusal(upgrade_request: UpgradeRequest) -> UpgradeRefusal | None:
            nonlocal url_request
            checked = self._endpoint.check_upgrade(upgrade_request)
            if isinstance(checked, UpgradeRefusal):
                return checked
            url_request = checked
            return None

        upgrade_request, response = ws_handshake.negotiate_handshake(head, find_refusal)
        if upgrade_request is None:
            self._reject_handshake(response)
        else:
            self.start_handshake(upgrade_request, response, url_request)

    def _reject_handshake(self, response: bytes) -> None:
        self.transport.write(response)
        self.transport.close()

    # -- reading ---------------------------------------------------------------------------------

    @property
    def allowance(self) -> FrameAllowance:
        """What this client may still send; created on first use, as most send nothing."""
        if self._allowance is None:
            self._allowance = FrameAllowance(self._handler.limits.max_frames_per_second)
        return self._allowance

    def handle_pending(self) -> None:
        """Handle frames that were read, in this turn or a later one."""
        if self._hold_timer is None:
            self._is_waiting_for_turn = self._endpoint.frame_turns.submit(self)
        self._update_reading()

    def is_sparing(self) -> bool:
        """Whether it used next to nothing of its allowance lately."""
        return (
            self._allowance is None
            or self._allowance.used_seconds(self._handler.now()) < _SPARING_SECONDS
        )

    def handle_frames(self) -> bool:
        """Handle a few frames; return whether more can be handled in a later turn."""
        self._is_waiting_for_turn = False
        ends_at = time.perf_counter() + CONNECTION_SECONDS
        frames_left = FRAMES_PER_TURN
        try:
            while self._can_handle():
                if not frames_left or time.perf_counter() >= ends_at:
                    self._is_waiting_for_turn = True
                    break
                frames_left -= 1
                if not self._handle_frame():
                    break
        except ProtocolViolation as violation:
            self._stop_parsing()
            self._is_ignoring = True
            self._endpoint.handle_violation(self, violation)
        self._endpoint.flush()
        self._update_reading()
        return self._is_waiting_for_turn

    def _can_handle(self) -> bool:
        """Whether a frame may be parsed now, as far as this connection goes."""
        return (
            self._frame_parser is not None
            and self._frame_parser.has_bytes
            and not (self.is_write_paused or self.transport.is_closing())
            and self._hold_timer is None
            and (
                self.phase is Phase.CLOSING  # the client's close is awaited
                or (
                    self.phase in _HANDLING_PHASES
                    and (self.session is None or self.session.close_code is None)
                )
            )
        )

    def _handle_frame(self) -> bool:
        """Handle one frame; return False if none is whole, or if none may be handled now."""
        now = self._handler.now()
        if wait_seconds := self.allowance.wait_seconds(now):
            self._hold(wait_seconds)
            return False
        message = None if self._frame_parser is None else self._frame_parser.pop()
        if message is None:
            return False
        self.allowance.count(now)
        if self.phase is Phase.AWAITING_HELLO:
            self._frames_before_welcome += 1
            if self._frames_before_welcome > MAX_FRAMES_BEFORE_WELCOME:
                reason = f"misbehaving: more than {MAX_FRAMES_BEFORE_WELCOME} frames and no hello"
                raise ProtocolViolation(closes.MISBEHAVING.code, reason)
        self._handle_message(*message)
        if self.session is not None and self.session.outbox.pending_bytes > _REPLY_BYTES:
            self.flush()
        return True

    def _handle_message(self, opcode: int, payload: bytes) -> None:
        if self.phase is Phase.CLOSING:
            if opcode == ws_framing.CLOSE:
                self.transport.close()
            return
        match opcode:
            case ws_framing.PING:
                self.transport.write(ws_framing.encode_frame(ws_framing.PONG, payload))
            case ws_framing.CLOSE:
                self._echo_close(payload)
            case ws_framing.TEXT:
                self._endpoint.handle_message(self, payload)
            case ws_framing.BINARY:
                self._endpoint.handle_message(self, None)

    def _hold(self, wait_seconds: float) -> None:
        """Read nothing from a client beyond its allowance until it may go on."""
        self._hold_timer = asyncio.get_running_loop().call_later(
            max(wait_seconds, _MIN_HOLD_SECONDS), self._end_hold
        )

    def _end_hold(self) -> None:
        self._hold_timer = None
        self.last_seen = self._handler.now()  # it could not be heard meanwhile
        self._is_waiting_for_turn = True
        self._endpoint.frame_turns.wait(self)

    def _update_reading(self) -> None:
        """Read from the client exactly while its frames can be handled."""
        if self.phase is Phase.CLOSED or self.transport.is_closing():
            return
        if (
            self.is_write_paused
            or self._is_waiting_for_turn
            or self._hold_timer is not None
            or self.phase is Phase.PREPARING
        ):
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _stop_parsing(self) -> None:
        """Drop what was read and whatever follows."""
        self._endpoint.frame_turns.discard(self)
        self._is_waiting_for_turn, self._frame_parser = False, None
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _echo_close(self, payload: bytes) -> None:
        code = ws_framing.parse_close_code(payload)
        if self.session is not None:
            self.session.client_close_code = code if payload else _NO_STATUS_RECEIVED
        self.transition(PhaseTrigger.CLOSE_SENT)
        self.transport.write(
            ws_framing.encode_close(code)
            if payload
            else ws_framing.encode_frame(ws_framing.CLOSE, b"")
        )
        self.deadline = self._handler.now() + self._handler.limits.close_timeout_seconds
        self.transport.close()

    # -- writing ---------------------------------------------------------------------------------

    def begin_close(self, close: CloseCode) -> None:
        """Send the close frame; the client has the close timeout to reply."""
        self.transport.write(ws_framing.encode_close(close.code, close.reason))
        super().begin_close(close)
        if close.code in _MISBEHAVING_CODES:
            self._stop_parsing()
            self._is_ignoring = True
            self.transport.write_eof()  # its close frame is not looked for; it must close by itself
        elif self._frame_parser is not None and self._hold_timer is None:
            self._endpoint.frame_turns.wait(self)  # its close frame may have come already
        self._update_reading()

    def is_silent(self, now: float) -> bool:
        """Whether nothing came for two heartbeats, although this client was read from."""
        return (
            not self.is_write_paused
            and self._hold_timer is None
            and now - self.last_seen >= 2 * self._handler.limits.heartbeat_seconds
        )

    def ping(self) -> None:
        """Send a ping: the pong shows that a client that only listens is alive."""
        if not self.is_write_paused:
            self.transport.write(ws_framing.PING_FRAME)


PATH = "/ws"


class WebSocketEndpoint:
    """Admits WebSocket clients and handles their messages."""

    def __init__(
        self,
        hub: Hub,
        admission: AdmissionController,
        pool: ConnectionPool,
        *,
        origin_policy: OriginPolicy,
        trusted_proxies: TrustedProxies,
        upstream: Upstream,
        limits: AdmissionLimits,
        counters: ClientCounters,
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._pool = pool
        self._origin_policy = origin_policy
        self._trusted_proxies = trusted_proxies
        self._upstream = upstream
        self._refused_by_reason = counters.refused_by_reason
        self.limits = limits
        self.closes_by_code = counters.closes_by_code
        self.now = pool.now
        self.accept_throttle = AcceptThrottle()
        self.frame_turns = FrameTurns()
        self.flush = pool.flusher.flush
        self._timeouts = CountedLog(_log)
        self._admission_tasks: dict[WebSocketConnection, asyncio.Task[None]] = {}
        self._permission_updates = PermissionUpdates(hub, admission, pool.flusher.flush)

    def create_connection(self, **_: object) -> WebSocketConnection:
        """Return a new connection; uvicorn calls this in place of a protocol class."""
        return WebSocketConnection(self)

    # -- admission -------------------------------------------------------------------------------

    def check_upgrade(self, upgrade_request: UpgradeRequest) -> UrlRequest | UpgradeRefusal:
        """Return what the URL asks for, or the refusal of the handshake."""
        path, _, query = upgrade_request.target.partition("?")
        if path != PATH:
            return UpgradeRefusal(404, f"WebSockets are served at {PATH}")
        host, origin = upgrade_request.header("host") or "", upgrade_request.header("origin")
        if not self._origin_policy.allows(host, origin):
            log_refused_origin(host, origin)
            self._refused_by_reason["origin"] += 1
            return UpgradeRefusal(
                403, "this host or origin is not allowed here (BRIDGE_ALLOWED_ORIGINS)"
            )
        try:
            hello = parse_websocket_query(query)
            return UrlRequest(hello, None if hello is None else self._admission.parse(hello))
        except BadRequest as error:
            self._refused_by_reason["bad_request"] += 1
            return UpgradeRefusal(400, str(error))

    def accept(
        self,
        connection: WebSocketConnection,
        upgrade_request: UpgradeRequest,
        url_request: UrlRequest,
    ) -> None:
        """Admit an upgraded connection, or wait for its hello."""
        self._pool.add(connection)
        forwarded = upgrade_request.headers.get("x-forwarded-for", ())
        connection.address = self._trusted_proxies.client_address(connection.address, forwarded)
        connection.credentials = Credentials(
            parse_bearer(upgrade_request.header("authorization")),
            address=connection.address,
            origin=upgrade_request.header("origin"),
            headers=self._origin_policy.select_credentials(
                self._admission.credential_headers,
                lambda name: upgrade_request.headers.get(name, ()),
            ),
        )
        try:
            self._admission.check_rate(self.now())
        except AuthRefused as refused:
            self._reject(connection, refused)
            return
        if url_request.hello is None or url_request.connect_request is None:
            connection.transition(PhaseTrigger.HELLO_AWAITED)
            connection.deadline = self.now() + self.limits.hello_timeout_seconds
        else:
            self._start_admission(connection, url_request.hello, url_request.connect_request)

    def _start_admission(
        self, connection: WebSocketConnection, hello: frames.Hello, connect_request: ConnectRequest
    ) -> None:
        credentials, connection.credentials = connection.credentials, NO_CREDENTIALS
        try:
            self._admission.check_address(connection.address)
            permissions = self._admission.authenticate(
                complete_credentials(credentials, hello, connect_request)
            )
        except AuthRefused as refused:
            self._reject(connection, refused)
            return
        if isinstance(permissions, Permissions):
            self._admit_now(connection, permissions, connect_request)
        else:
            self._run_in_background(
                connection, partial(self._admit_later, permissions, connection, connect_request)
            )

    async def _admit_later(
        self,
        pending: Awaitable[Permissions],
        connection: WebSocketConnection,
        connect_request: ConnectRequest,
    ) -> None:
        try:
            permissions = await pending
        except AuthRefused as refused:
            self._reject(connection, refused)
            return
        if connection.phase is Phase.PREPARING:
            self._admit_now(connection, permissions, connect_request)
            connection.handle_pending()

    def _run_in_background(
        self, connection: WebSocketConnection, lookup: Callable[[], Awaitable[None]]
    ) -> None:
        """Run a lookup before the welcome; it ends with the connection, or at its time limit."""
        connection.transition(PhaseTrigger.LOOKUP_STARTED)
        connection.transport.pause_reading()  # what the client sends meanwhile has to wait
        task = asyncio.create_task(self._run_lookup(connection, lookup))
        self._admission_tasks[connection] = task
        task.add_done_callback(partial(self._forget_task, connection))

    def _forget_task(self, connection: WebSocketConnection, task: asyncio.Task[None]) -> None:
        if self._admission_tasks.get(connection) is task:  # the next lookup may have begun
            del self._admission_tasks[connection]

    async def _run_lookup(
        self, connection: WebSocketConnection, lookup: Callable[[], Awaitable[None]]
    ) -> None:
        timeout = asyncio.timeout(self.limits.start_timeout_seconds)
        try:
            async with timeout:
                await lookup()
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must not wait on
            if timeout.expired():
                self._timeouts.log(
                    logging.ERROR,
                    "closed a WebSocket before its welcome: no keys or start position within %g s;"
                    " check Kafka and the JWKS URL address=%s",
                    self.limits.start_timeout_seconds,
                    connection.address,
                )
            else:
                _log.error(
                    "closed a WebSocket before its welcome: its lookup failed; please report this"
                    " bug address=%s",
                    connection.address,
                    exc_info=error,
                )
            self._reject(connection, AuthRefused(closes.OVERLOADED, metric_reason="kafka"))

    def _admit_now(
        self,
        connection: WebSocketConnection,
        permissions: Permissions,
        connect_request: ConnectRequest,
    ) -> None:
        try:
            connection.session = session = self._admission.admit(
                permissions,
                connect_request,
                connection.encode_frame,
                connection,
                connection.address,
            )
        except AuthRefused as refused:
            self._reject(connection, refused)
            return
        if self._admission.must_resolve_start(session, connect_request):
            self._run_in_background(
                connection, partial(self._start_after_lookup, connection, session, connect_request)
            )
        else:
            self._start_session(connection, session, connect_request)

    async def _start_after_lookup(
        self, connection: WebSocketConnection, session: Session, connect_request: ConnectRequest
    ) -> None:
        try:
            resolved = await self._admission.resolve_start(session, connect_request)
        except AuthRefused as refused:
            self._reject(connection, refused)
            return
        if connection.phase is not Phase.PREPARING:
            return  # it was closed meanwhile
        self._start_session(connection, session, resolved)
        connection.handle_pending()

    def _start_session(
        self, connection: WebSocketConnection, session: Session, connect_request: ConnectRequest
    ) -> None:
        connection.client_requests = ClientRequests(
            self._hub, session, self.limits.request_limits, connection.allowance
        )
        connection.open()
        self._admission.start(session, connect_request)
        self._pool.flusher.flush()

    def _reject(self, connection: WebSocketConnection, refused: AuthRefused) -> None:
        self._refused_by_reason[refused.metric_reason] += 1
        self._pool.close(connection, refused.close)

    # -- messages --------------------------------------------------------------------------------

    def handle_message(self, connection: WebSocketConnection, text: bytes | None) -> None:
        """Handle one message; None stands for a binary one."""
        if connection.phase is Phase.AWAITING_HELLO:
            self._handle_hello(connection, text)
        elif (
            connection.is_live
            and connection.client_requests is not None
            and connection.session is not None
        ):
            if text is None:
                connection.client_requests.reject_frame(
                    "a frame is text, not bytes", UNSET, self.now()
                )
            elif request := connection.client_requests.handle(
                text, self.now(), self._upstream.stale_seconds()
            ):
                if isinstance(request, Subscribe):
                    self._permission_updates.extend(
                        connection.session, connection.client_requests, request
                    )
                else:
                    self._permission_updates.refresh(connection.session, request)

    def _handle_hello(self, connection: WebSocketConnection, text: bytes | None) -> None:
        try:
            hello = frames.decode_hello(text or b"")
            connect_request = self._admission.parse(hello)
        except (frames.BadFrame, BadRequest) as error:
            close = closes.MISBEHAVING._replace(reason=f"misbehaving: {error}"[:120])
            self._refused_by_reason["bad_request"] += 1
            self._pool.close(connection, close)
            return
        self._start_admission(connection, hello, connect_request)

    def handle_violation(
        self, connection: WebSocketConnection, violation: ws_framing.ProtocolViolation
    ) -> None:
        """Close a connection that violated RFC 6455 or sent too large a frame."""
        close = closes.MISBEHAVING._replace(code=violation.code, reason=violation.reason)
        self._pool.close(connection, close)

    # -- the end -----------------------------------------------------------------------------------

    def remove(self, connection: ClientConnection, error: Exception | None) -> None:
        """Remove a lost connection and end its lookup."""
        if isinstance(connection, WebSocketConnection):
            connection.client_requests = None
            if (task := self._admission_tasks.get(connection)) is not None:
                task.cancel()
        self._pool.remove(connection, error)
