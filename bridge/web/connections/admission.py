"""The way in, the same for every kind of client: well-formed, known, allowed, and room for it.

Rule: a client is counted from its admission until it leaves, and whoever admits it lets it leave.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.core.coordination.membership import Backend, Members
from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import write_cursor
from bridge.core.sessions.hub import regrant
from bridge.core.sessions.requests import forbidden
from bridge.core.sessions.session import Session, State
from bridge.web.auth.authenticator import Refused
from bridge.web.auth.client_address import Proxies, site
from bridge.web.auth.jwt import LEEWAY
from bridge.web.connections.connect_request import BadRequest, wish
from bridge.web.http.rate_limit import Allowance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.core.protocol.frames import Hello, Token
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.permissions import Grant
    from bridge.core.sessions.requests import Bounds
    from bridge.web.auth.authenticator import Gate
    from bridge.web.auth.origins import Doors
    from bridge.web.connections.connect_request import Wish
    from bridge.web.upstream import Upstream

_FEW: Final = 1024


class Expiries:
    """The ends of grants, `leeway` seconds after what they say. Times are seconds since 1970."""

    def __init__(self, leeway: float) -> None:
        self._leeway = leeway
        self._heap: list[tuple[float, int, Session]] = []
        self._number = count()  # sessions have no order of their own
        self._sweep_at = _FEW

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, session: Session) -> None:
        """Watch the end of the grant that `session` has now."""
        expires = session.grant.expires
        if expires is None:
            return
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if self._holds(*entry)]
            heapify(self._heap)
            self._sweep_at = max(_FEW, 2 * len(self._heap))
        heappush(self._heap, (expires + self._leeway, next(self._number), session))

    def due(self, now: float) -> list[Session]:
        """Return the live sessions whose grants have ended; those that open now are kept."""
        if not self._heap or self._heap[0][0] > now:
            return []
        due: list[tuple[float, int, Session]] = []
        early: list[tuple[float, int, Session]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if self._holds(*entry):
                (early if entry[2].state is State.OPENING else due).append(entry)
        for entry in early:
            heappush(self._heap, entry)
        return [session for _, _, session in due]

    def _holds(self, ends: float, _number: int, session: Session) -> bool:
        """Whether this is still the end of what `session` has."""
        expires = session.grant.expires
        gone = session.state in {State.CLOSING, State.CLOSED}
        return not gone and expires is not None and expires + self._leeway == ends


class Limits(NamedTuple):
    """How much this instance takes, and for how long it waits (seconds)."""

    bounds: Bounds
    connections: int = 18_000
    per_account: int = 50
    per_address: int = 0  #: 0 is off
    handshakes_per_second: int = 500
    frame_bytes: int = 65_536
    outbox_seconds: float = 15.0
    heartbeat: float = 25.0
    stale: float = 0.0  #: seconds without Kafka that are allowed; 0 is for ever
    hello_seconds: float = 10.0
    close_seconds: float = 5.0


class Entrance:
    """Admits clients to the hub."""

    #: Set once the feed exists, which needs the sockets, which need the entrance.
    upstream: Upstream

    def __init__(
        self,
        hub: Hub,
        gate: Gate,
        doors: Doors,
        limits: Limits,
        *,
        catch_up: CatchUp,
        proxies: Proxies | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` tells the seconds since 1970, which tokens are written in."""
        self.hub = hub
        self.catch_up = catch_up
        self.doors = doors
        self.limits = limits
        self.proxies = proxies if proxies is not None else Proxies()
        self.backend = Backend(hub, Members())  #: to be replaced by one that hears commands
        self.draining = False
        self.count = 0
        self.admitted = 0  #: clients, from the start on
        self.closes: Counter[int] = Counter()  #: by their codes
        self.refused: Counter[str] = Counter()  #: clients that were never let in, by why
        self._gate = gate
        self._wall = wall
        self._expiries = Expiries(LEEWAY)
        self._per_account: dict[str, int] = {}
        self._per_site: dict[str, int] = {}
        self._sites: dict[Session, str] = {}
        self._handshakes = Allowance(limits.handshakes_per_second)

    def wish(self, hello: Hello, *, trusted: bool = False) -> Wish:
        """Check the form of what `hello` asks for; who is `trusted` may say who it is.

        Raises:
            BadRequest: If it is not well-formed.
        """
        if hello.account is not None and not (trusted or self._gate.takes_account):
            raise BadRequest("account: only where authentication is off; the token says who")
        bounds = self.limits.bounds
        return wish(hello, max_topics=bounds.topics, max_rooms=bounds.rooms)

    def knock(self, now: float) -> None:
        """Count one more client that wants to come in, at `now` seconds.

        Raises:
            Refused: If they come faster than allowed, or this instance takes nobody now.
        """
        if self.draining:
            raise Refused(close_codes.DRAINING)
        if not self.upstream.ready():
            raise Refused(close_codes.NOT_READY, word="not_ready")
        if self.too_stale:
            raise Refused(close_codes.STALE)
        if self._handshakes.wait(now):
            why = "overloaded: too many clients come at once"
            raise Refused(close_codes.OVERLOADED, why, word="rate")

    @property
    def too_stale(self) -> bool:
        """Whether this instance has been without Kafka for longer than allowed."""
        stale = self.upstream.stale() if self.limits.stale else None
        return stale is not None and stale > self.limits.stale

    def missing(self, token: str | None) -> Awaitable[None] | None:
        """What has to be waited for before `token` can be judged; None in the usual case."""
        return self._gate.missing(token)

    def admit(
        self,
        hello: Hello,
        wish: Wish,
        wrap: Callable[[bytes], bytes],
        pipe: Any,  # noqa: ANN401
        address: str = "",
    ) -> Session:
        """Return a session for this client, set to what it wants and not welcomed yet.

        Raises:
            Refused: If it is nobody, may not have that, or there is no room.
        """
        place = site(address) if self.limits.per_address else ""
        if place and self._per_site.get(place, 0) >= self.limits.per_address:
            why = "overloaded: too many connections of this address"
            raise Refused(close_codes.OVERLOADED, why, word="address")
        grant = self.identify(hello)
        if self.count >= self.limits.connections:
            raise Refused(
                close_codes.OVERLOADED, "overloaded: too many connections", word="connections"
            )
        account = grant.account
        if account is not None and self._per_account.get(account, 0) >= self.limits.per_account:
            why = "overloaded: too many connections of this account"
            raise Refused(close_codes.OVERLOADED, why, word="account")
        session = self.session(grant, wish, wrap, pipe)
        session.address, session.since = address, self._wall()
        self.count += 1
        self.admitted += 1
        if account is not None:
            self._per_account[account] = self._per_account.get(account, 0) + 1
        if place:
            self._sites[session] = place
            self._per_site[place] = self._per_site.get(place, 0) + 1
        self._expiries.add(session)
        self.hub.demand.expect(session)
        return session

    def identify(self, hello: Hello) -> Grant:
        """Return the grant of who says `hello`.

        Raises:
            Refused: If it is nobody, or that can not be told now.
        """
        grant = self._gate.identify(hello.token, hello.account)
        if self._is_revoked(grant):
            raise Refused(close_codes.UNAUTHENTICATED, "unauthenticated: the token was revoked")
        return grant

    def session(
        self,
        grant: Grant,
        wish: Wish,
        wrap: Callable[[bytes], bytes] = bytes,
        pipe: Any = None,  # noqa: ANN401
    ) -> Session:
        """Return a session of the holder of `grant`, set to what it wants, and counted nowhere.

        Raises:
            Refused: If the grant does not cover that.
        """
        session = Session(secrets.token_hex(16), grant, wrap, pipe)
        refusal = forbidden(self.hub, session, wish.topics or (), wish.rooms)
        if refusal is not None:
            raise Refused(close_codes.FORBIDDEN, f"forbidden: {refusal[1]}")
        self.hub.follow(
            session,
            self.hub.readable(session) if wish.topics is None else wish.topics,
            wish.rooms,
        )
        session.types = wish.types
        return session

    def welcome(self, session: Session, wish: Wish) -> None:
        """Welcome `session`: it is live, or will be once it has what it missed."""
        self.backend.welcome(session)
        if wish.cursor is None:
            self.hub.attach(session)
        else:
            self.catch_up.begin(session, wish.cursor, wish.resumed, clip=wish.since is not None)
            self.upstream.replay(session)
        self.expire()
        if self._is_revoked(session.grant):  # since it was admitted
            self.hub.hang_up(session, close_codes.EXPIRED, discard=True)

    def must_ask(self, session: Session, wish: Wish) -> bool:
        """Whether `find` is needed before `session` is welcomed."""
        return wish.since is not None or bool(self.hub.demand.asleep(session.topics))

    async def find(self, session: Session, wish: Wish) -> Wish:
        """Return `wish` with the cursor of the time that it says, once all its topics are read.

        Raises:
            Refused: If Kafka does not tell it in time.

        Cancellation: safe.
        """
        refused = Refused(
            close_codes.OVERLOADED, "overloaded: Kafka does not answer now", word="kafka"
        )
        if not await self.upstream.awake(session.topics):
            raise refused
        if wish.since is None:
            return wish
        cursor = await self.upstream.since(session.topics, wish.since)
        if cursor is None:
            raise refused
        return wish._replace(cursor=cursor, resumed=write_cursor(cursor))

    def renew(self, session: Session, token: Token) -> None:
        """Answer a newer credential of a live session; a wrong one leaves the old in force."""
        try:
            grant = self._gate.renew(session.grant, token.token)
        except Refused as refused:
            self.hub.refuse(session, "bad_token", str(refused), token.id)
            return
        if self._is_revoked(grant):
            self.hub.refuse(session, "bad_token", "the token was revoked", token.id)
            return
        regrant(self.hub, session, grant, token.id)
        self._expiries.add(session)

    def _is_revoked(self, grant: Grant) -> bool:
        # Where authentication is off there are no tokens, and so no newer ones either.
        members = self.backend.members
        return not self._gate.takes_account and members.is_revoked(grant.account, grant.issued)

    def expire(self) -> None:
        """Hang up on those whose grants have ended; what is queued for them is discarded.

        To be called before events are published, so that none is handed out after the end.
        """
        for session in self._expiries.due(self._wall()):
            self.hub.hang_up(session, close_codes.EXPIRED, discard=True)

    def leave(self, session: Session) -> None:
        """Forget `session`, which was admitted."""
        self.hub.detach(session)
        self.count -= 1
        if session.close is not None:
            self.closes[session.close.code] += 1
        if session.grant.account is not None:
            _discount(self._per_account, session.grant.account)
        if session in self._sites:
            _discount(self._per_site, self._sites.pop(session))


def _discount(counts: dict[str, int], name: str) -> None:
    counts[name] -= 1
    if not counts[name]:
        del counts[name]
