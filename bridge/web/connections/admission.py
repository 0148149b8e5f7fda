"""Admission control for every kind of client: form, credentials, permissions and limits.

Rule: a client counts from `admit` to `release`, and the caller of `admit` must call `release`.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import encode_cursor
from bridge.core.sessions.requests import check_permissions
from bridge.core.sessions.session import NO_CONNECTION, Session, SessionState
from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.callback.extension import ExtendingAuthenticator
from bridge.web.auth.client_address import client_network
from bridge.web.auth.tokens.claims import LEEWAY_SECONDS
from bridge.web.connections.connect_request import BadRequest, parse_connect_request
from bridge.web.http.connection_log import ConnectionLog
from bridge.web.http.rate_limit import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from bridge.core.coordination.room_memberships import CommandExecutor
    from bridge.core.protocol.frames import Hello, TokenUpdate
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.permissions import Permissions
    from bridge.core.sessions.requests import RequestLimits
    from bridge.core.sessions.session import Connection
    from bridge.web.auth.authenticator import Authenticator, Credentials
    from bridge.web.connections.connect_request import ConnectRequest
    from bridge.web.upstream import Upstream

_MIN_COMPACT_SIZE: Final = 1024
#: A client waits this much longer for its start than Kafka may take.
START_MARGIN_SECONDS: Final = 5.0


class ExpiryTimers:
    """Closes sessions whose permissions have expired. Times are seconds since 1970."""

    def __init__(
        self,
        hub: Hub,
        leeway_seconds: float = LEEWAY_SECONDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Sessions expire `leeway_seconds` after the time that their permissions name."""
        self._hub = hub
        self._leeway_seconds = leeway_seconds
        self._wall_clock = wall_clock
        self._heap: list[tuple[float, int, Session]] = []
        self._sequence = count()  # sessions have no order of their own
        self._compact_at_size = _MIN_COMPACT_SIZE

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, session: Session) -> None:
        """Watch the expiry of the permissions that `session` has now."""
        expires_at = session.permissions.expires_at
        if expires_at is None:
            return
        if len(self._heap) >= self._compact_at_size:
            self._heap = [entry for entry in self._heap if self._is_current(*entry)]
            heapify(self._heap)
            self._compact_at_size = max(_MIN_COMPACT_SIZE, 2 * len(self._heap))
        heappush(self._heap, (expires_at + self._leeway_seconds, next(self._sequence), session))

    def close_expired(self) -> None:
        """Close all expired sessions and discard what is queued for them.

        Call it before events are delivered: none is sent after the permissions expired.
        """
        for session in self.pop_expired(self._wall_clock()):
            self._hub.close(session, close_codes.EXPIRED, discard_queued=True)

    def pop_expired(self, now: float) -> list[Session]:
        """Remove and return the welcomed sessions that have expired. Opening ones stay."""
        if not self._heap or self._heap[0][0] > now:
            return []
        expired: list[tuple[float, int, Session]] = []
        opening: list[tuple[float, int, Session]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if self._is_current(*entry):
                (opening if entry[2].state is SessionState.OPENING else expired).append(entry)
        for entry in opening:
            heappush(self._heap, entry)
        return [session for _, _, session in expired]

    def _is_current(self, entry_time: float, _number: int, session: Session) -> bool:
        """Whether `session` is not closed and still expires at this time."""
        expires_at = session.permissions.expires_at
        is_closed = session.state in {SessionState.CLOSING, SessionState.CLOSED}
        return (
            not is_closed
            and expires_at is not None
            and expires_at + self._leeway_seconds == entry_time
        )


class AdmissionLimits(NamedTuple):
    """Limits of one instance. Times are in seconds."""

    request_limits: RequestLimits
    max_connections: int = 18_000
    max_connections_per_account: int = 50
    max_connections_per_address: int = 0  #: 0 is off
    max_handshakes_per_second: int = 500
    max_frame_bytes: int = 65_536
    max_frames_per_second: int = 200
    outbox_timeout_seconds: float = 15.0
    heartbeat_seconds: float = 25.0
    max_stale_seconds: float = 0.0  #: allowed without Kafka; 0 is no limit
    hello_timeout_seconds: float = 10.0
    close_timeout_seconds: float = 5.0
    start_timeout_seconds: float = 65.0  #: for the keys or the start position of a client


class ClientCounters:
    """What the metrics show of clients since the start."""

    def __init__(self) -> None:
        self.admitted_total = 0
        self.refused_by_reason: Counter[str] = Counter()
        self.closes_by_code: Counter[int] = Counter()


class AdmissionController:
    """Admits clients to the hub."""

    def __init__(
        self,
        hub: Hub,
        authenticator: Authenticator,
        limits: AdmissionLimits,
        *,
        catch_up: CatchUp,
        upstream: Upstream,
        command_executor: CommandExecutor,
        expiry: ExpiryTimers,
        counters: ClientCounters,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` returns seconds since 1970, as tokens use them."""
        self._hub = hub
        self._catch_up = catch_up
        self._limits = limits
        self._upstream = upstream
        self._command_executor = command_executor
        self._expiry = expiry
        self._counters = counters
        self.connection_log = ConnectionLog()
        self.is_draining = False
        self.connection_count = 0
        self._authenticator = authenticator
        self._wall_clock = wall_clock
        self._connections_per_account: dict[str, int] = {}
        self._connections_per_network: dict[str, int] = {}
        self._networks: dict[Session, str] = {}
        self._handshake_bucket = TokenBucket(limits.max_handshakes_per_second)

    def parse(self, hello: Hello, *, is_trusted: bool = False) -> ConnectRequest:
        """Check the form of `hello`; only a trusted client may name its account.

        Raises:
            BadRequest: If it is not well-formed.
        """
        if hello.account is not None and not (
            is_trusted or self._authenticator.accepts_account_parameter
        ):
            raise BadRequest("account: only where authentication is off; the token says who")
        request_limits = self._limits.request_limits
        return parse_connect_request(
            hello, max_topics=request_limits.max_topics, max_rooms=request_limits.max_rooms
        )

    def check_rate(self, now: float) -> None:
        """Count one connection attempt, at `now` seconds of the event loop's clock.

        Raises:
            AuthRefused: If the rate limit is reached, or this instance admits no clients now.
        """
        if self.is_draining:
            raise AuthRefused(close_codes.DRAINING)
        if not self._upstream.is_ready():
            raise AuthRefused(close_codes.NOT_READY, metric_reason="not_ready")
        if self.is_too_stale:
            raise AuthRefused(close_codes.STALE)
        if self._handshake_bucket.acquire(now):
            reason = "overloaded: too many clients come at once"
            raise AuthRefused(close_codes.OVERLOADED, reason, metric_reason="rate")

    @property
    def is_too_stale(self) -> bool:
        """Whether this instance has been without Kafka for longer than allowed."""
        stale_seconds = self._upstream.stale_seconds() if self._limits.max_stale_seconds else None
        return stale_seconds is not None and stale_seconds > self._limits.max_stale_seconds

    def authenticate(self, credentials: Credentials) -> Permissions | Awaitable[Permissions]:
        """Return the permissions of a client, or what to await for them.

        Raises:
            AuthRefused: If its credential is invalid, or cannot be checked now. The awaitable
                raises it too.
        """
        return self._authenticator.authenticate(credentials)

    @property
    def credential_headers(self) -> Collection[str]:
        """Names of the headers that the authenticator needs, in lower case."""
        return self._authenticator.credential_headers

    def check_address(self, address: str) -> None:
        """Check the limit of connections per address; it comes before the credential.

        Raises:
            AuthRefused: If this address has too many.
        """
        self._check_network(self._limited_network(address))

    def admit(
        self,
        permissions: Permissions,
        connect_request: ConnectRequest,
        encode_frame: Callable[[bytes], bytes],
        connection: Connection,
        address: str = "",
    ) -> Session:
        """Return a subscribed session for this client, not welcomed yet.

        Raises:
            AuthRefused: If its permissions or a limit does not allow it.
        """
        network = self._limited_network(address)
        self._check_network(network)
        self.check_in_force(permissions)
        if self.connection_count >= self._limits.max_connections:
            raise AuthRefused(
                close_codes.OVERLOADED,
                "overloaded: too many connections",
                metric_reason="connections",
            )
        account = permissions.account
        if (
            account is not None
            and self._connections_per_account.get(account, 0)
            >= self._limits.max_connections_per_account
        ):
            reason = "overloaded: too many connections of this account"
            raise AuthRefused(close_codes.OVERLOADED, reason, metric_reason="account")
        session = self.create_session(permissions, connect_request, encode_frame, connection)
        session.client_address, session.connected_at = address, self._wall_clock()
        self.connection_count += 1
        self._counters.admitted_total += 1
        if account is not None:
            self._connections_per_account[account] = (
                self._connections_per_account.get(account, 0) + 1
            )
        if network:
            self._networks[session] = network
            self._connections_per_network[network] = (
                self._connections_per_network.get(network, 0) + 1
            )
        self._expiry.add(session)
        self._hub.admit(session)
        return session

    def _limited_network(self, address: str) -> str:
        return client_network(address) if self._limits.max_connections_per_address else ""

    def _check_network(self, network: str) -> None:
        count = self._connections_per_network.get(network, 0)
        if network and count >= self._limits.max_connections_per_address:
            reason = "overloaded: too many connections of this address"
            raise AuthRefused(close_codes.OVERLOADED, reason, metric_reason="address")

    def check_in_force(self, permissions: Permissions) -> None:
        """Check that permissions that were given earlier are still in force.

        Raises:
            AuthRefused: If they were revoked, or have expired.
        """
        if self._is_revoked(permissions):
            raise AuthRefused(close_codes.UNAUTHENTICATED, "unauthenticated: the token was revoked")
        expires_at = permissions.expires_at
        if expires_at is not None and expires_at + LEEWAY_SECONDS <= self._wall_clock():
            raise AuthRefused(close_codes.UNAUTHENTICATED, "unauthenticated: the token has expired")

    def create_session(
        self,
        permissions: Permissions,
        connect_request: ConnectRequest,
        encode_frame: Callable[[bytes], bytes] = bytes,
        connection: Connection = NO_CONNECTION,
    ) -> Session:
        """Return a subscribed session with `permissions` that counts towards no limit.

        Raises:
            AuthRefused: If the permissions do not cover that.
        """
        session = Session(secrets.token_hex(16), permissions, encode_frame, connection)
        refusal = check_permissions(
            self._hub, session, connect_request.topics or (), connect_request.rooms
        )
        if refusal is not None:
            raise AuthRefused(close_codes.FORBIDDEN, f"forbidden: {refusal[1]}")
        self._hub.subscribe(
            session,
            self._hub.readable_topics(session)
            if connect_request.topics is None
            else connect_request.topics,
            connect_request.rooms,
        )
        session.type_filter = connect_request.types
        return session

    def create_reader(self, permissions: Permissions, connect_request: ConnectRequest) -> Session:
        """Return a session that reads history: it has its account's rooms, and no connection.

        Raises:
            AuthRefused: If the permissions do not cover that.
        """
        session = self.create_session(permissions, connect_request)
        self._command_executor.add_account_rooms(session)
        return session

    def start(self, session: Session, connect_request: ConnectRequest) -> None:
        """Welcome `session`: it becomes live, at once or after its replay."""
        self.connection_log.log_opened(session)
        self._command_executor.add_account_rooms(session)
        if connect_request.cursor is None:
            self._hub.attach(session)
        else:
            self._catch_up.start(
                session,
                connect_request.cursor,
                connect_request.cursor_text,
                may_clamp=connect_request.since_ms is not None,
            )
            self._upstream.start_replay(session)
        self._expiry.close_expired()
        if self._is_revoked(session.permissions):  # since it was admitted
            self._hub.close(session, close_codes.EXPIRED, discard_queued=True)

    def must_resolve_start(self, session: Session, connect_request: ConnectRequest) -> bool:
        """Whether `resolve_start` is needed before `session` is welcomed."""
        return connect_request.since_ms is not None or bool(
            self._hub.on_demand.idle_topics(session.topics)
        )

    async def resolve_start(
        self, session: Session, connect_request: ConnectRequest
    ) -> ConnectRequest:
        """Wait until all topics are read; return `connect_request` with the cursor of its time.

        Raises:
            AuthRefused: If Kafka does not answer in time.

        Cancellation: safe.
        """
        kafka_timeout = AuthRefused(
            close_codes.OVERLOADED, "overloaded: Kafka does not answer now", metric_reason="kafka"
        )
        if not await self._upstream.wait_until_active(session.topics):
            raise kafka_timeout
        if connect_request.since_ms is None:
            return connect_request
        cursor = await self._upstream.cursor_at(session.topics, connect_request.since_ms)
        if cursor is None:
            raise kafka_timeout
        return connect_request._replace(
            cursor=cursor, cursor_text=encode_cursor(cursor, int(self._wall_clock()))
        )

    def replace_permissions(
        self, session: Session, permissions: Permissions, token: TokenUpdate
    ) -> None:
        """Reply to a newer token of a live session, which gives `permissions`.

        Raises:
            AuthRefused: If they are of another account or not in force; the old ones stay.
        """
        if permissions.account != session.permissions.account:
            raise AuthRefused(
                close_codes.UNAUTHENTICATED, "unauthenticated: the token is of another account"
            )
        self.check_in_force(permissions)
        self._hub.replace_permissions(session, permissions, token.id)
        self._expiry.add(session)

    async def extend_permissions(
        self, session: Session, topics: Collection[str], rooms: Collection[str]
    ) -> None:
        """Add to the permissions of a live session what the backend grants.

        Raises:
            AuthRefused: If it refuses, or cannot be asked now.

        Cancellation: safe.
        """
        if not isinstance(self._authenticator, ExtendingAuthenticator):
            return
        extended = await self._authenticator.extend(session.permissions, topics, rooms)
        now = session.permissions  # a newer token may have come meanwhile
        ends = [end for end in (now.expires_at, extended.expires_at) if end is not None]
        session.permissions = now._replace(
            added_topics=extended.added_topics,
            added_rooms=extended.added_rooms,
            expires_at=min(ends, default=None),
        )
        self._expiry.add(session)

    def _is_revoked(self, permissions: Permissions) -> bool:
        # Where authentication is off there are no tokens, and so no newer ones either.
        memberships = self._command_executor.memberships
        return not self._authenticator.accepts_account_parameter and memberships.is_revoked(
            permissions.account, permissions.issued_at
        )

    def release(self, session: Session) -> None:
        """Remove a session that was admitted, and no longer count it."""
        self._hub.detach(session)
        self.connection_log.log_closed(session)
        self.connection_count -= 1
        if session.close_code is not None:
            self._counters.closes_by_code[session.close_code.code] += 1
        if session.permissions.account is not None:
            _decrement(self._connections_per_account, session.permissions.account)
        if session in self._networks:
            _decrement(self._connections_per_network, self._networks.pop(session))


def _decrement(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
