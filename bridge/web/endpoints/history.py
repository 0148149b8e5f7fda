"""`GET /history`: a client's own past events, by its own credential.

Rules: the same parameters as for a connection, judged in the same order; and no client keeps
others from asking, for each has so many requests at a time.
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
from bridge.core.replay.history import Asked, NotNow
from bridge.core.sessions.permissions import everything
from bridge.web.auth.authenticator import Refused, bearer
from bridge.web.auth.client_address import site
from bridge.web.connections.connect_request import BadRequest, split_query
from bridge.web.http import client_http
from bridge.web.http.problems import described, problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope, Send

    from bridge.core.protocol.frames import Hello
    from bridge.core.replay.history import Archive
    from bridge.core.sessions.permissions import Grant
    from bridge.core.sessions.session import Session
    from bridge.web.api.publish import AdminTokens
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connect_request import Wish
    from bridge.web.connections.pool import Sockets

PATH: Final = "/history"
LIMIT: Final = 100
MOST: Final = 1_000
#: Requests of one account, or of one address where there is no account.
AT_A_TIME: Final = 4
_credential: Final = HTTPBearer(
    scheme_name="credential",
    description="A client's token; or an admin token, which may name any account.",
    auto_error=False,
)
_PART_BYTES: Final = 64 * 1024
_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class History(msgspec.Struct):
    """Past events, oldest first."""

    events: Annotated[
        list[dict[str, Any]], Meta(description="`event` frames, as a connection gets them.")
    ]
    cursor: Annotated[str, Meta(description="Behind these events: where the next page begins.")]
    more: Annotated[bool, Meta(description="Whether there may be more: ask again.")]
    gaps: Annotated[
        list[dict[str, Any]],
        Meta(description="`gap` frames: what can not be had any more stands before the events."),
    ]


_QUERY: Final = {
    "topics": "Topics with commas between them; absent: every topic that may be read unnamed",
    "rooms": "Rooms whose events are asked for too, with commas between them",
    "types": "Event types; one with `*` at its end is a prefix; absent: all",
    "cursor": "Go on from here: the `cursor` of a page or of any frame",
    "since": "An RFC 3339 time to begin at; not together with a cursor. Without either: as early"
    " as the replay limits allow",
    "token": "The credential, where no `Authorization` header can be set",
    "account": "Whose events, only where authentication is off or with an admin token",
}
_TEXT: Final = {"type": "string", "minLength": 1}
_PARAMETERS: Final[list[dict[str, Any]]] = [
    {"name": name, "in": "query", "description": about, "schema": _TEXT}
    for name, about in _QUERY.items()
]
_PARAMETERS.append(
    {
        "name": "limit",
        "in": "query",
        "description": "The most events of a page",
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
    }
)
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A page",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/History"}}},
    },
    **described(
        {
            400: "A parameter is unknown, empty, given twice or malformed; a garbled cursor",
            401: "No credential, or a wrong one",
            403: "The host, the origin, a topic or a room is not allowed",
            503: "Kafka is away, or too many ask; `Retry-After` says when to come again",
        }
    ),
}


class _Told(Response):
    """A page on its way, as fast as the client reads it; until then it is `counted`."""

    def __init__(self, page: bytes, headers: dict[str, str], counted: ExitStack) -> None:
        super().__init__(page, media_type="application/json", headers=headers)
        self._counted = counted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Send it. uvicorn waits for a client before it takes more, not after it took the last."""
        with self._counted:
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            for at in range(0, len(self.body), _PART_BYTES):
                part = bytes(self.body[at : at + _PART_BYTES])
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Call(NamedTuple):
    """One request, well-formed. `trusted` says that it came with an admin token."""

    hello: Hello
    wish: Wish
    limit: int
    trusted: bool


class _Desk:
    """Answers requests, as many at a time as each client may have."""

    def __init__(
        self,
        entrance: Entrance,
        archive: Archive,
        admins: AdminTokens,
        sockets: Sockets,
    ) -> None:
        self._entrance = entrance
        self._archive = archive
        self._admins = admins
        self._sockets = sockets
        self._asking: Counter[str] = Counter()

    async def answer(self, request: Request) -> Response:
        """Answer one request.

        Cancellation: safe.
        """
        if (turned_away := client_http.turned_away(request, self._entrance.doors)) is not None:
            return turned_away
        headers = {**_HEADERS, **client_http.shared(request)}
        try:
            return await self._page(request, self._read(request), headers)
        except BadRequest as error:
            return problem(400, str(error), headers=headers)
        except Refused as refused:
            retry_after = self._entrance.hub.jitter(refused.close.retry_after)
            return client_http.refusal(refused.close, retry_after, headers)
        except client_http.Vanished:
            return Response()  # nobody is there to read it

    def _read(self, request: Request) -> _Call:
        try:
            query = request.scope["query_string"].decode("ascii")
        except UnicodeDecodeError:
            raise BadRequest("the query can not be read: it is not ASCII") from None
        hello, others = split_query(query, {"limit"})
        given = bearer(request.headers.get("Authorization"))
        trusted = given is not None and self._admins.know(given)
        hello.token = given or hello.token
        wish = self._entrance.wish(hello, trusted=trusted)
        return _Call(hello, wish, _limit(others.get("limit")), trusted)

    async def _page(self, request: Request, call: _Call, headers: dict[str, str]) -> Response:
        self._entrance.knock(self._sockets.now())
        missing = None if call.trusted else self._entrance.missing(call.hello.token)
        if missing is not None:
            await client_http.unless_gone(missing, request, self._sockets.leaving)
        reader = self._reader(call)
        asked = Asked(reader, call.wish.cursor, call.wish.since, call.limit)
        with ExitStack() as counted:
            counted.enter_context(self._counted(request, reader, call))
            try:
                page = await client_http.unless_gone(
                    self._archive.page(asked), request, self._sockets.leaving
                )
            except NotNow as not_now:
                raise Refused(close_codes.OVERLOADED, f"overloaded: {not_now}") from None
            self._reader(call)  # what was waited for may have outlasted the grant
            return _Told(page.write(), headers, counted.pop_all())

    def _reader(self, call: _Call) -> Session:
        grant: Grant
        if call.trusted:
            grant = everything(call.hello.account)
        else:
            grant = self._entrance.identify(call.hello)
        reader = self._entrance.session(grant, call.wish)
        self._entrance.backend.welcome(reader)
        return reader

    @contextmanager
    def _counted(self, request: Request, reader: Session, call: _Call) -> Iterator[None]:
        """Count a request until it is answered; an operator's are not."""
        if call.trusted:
            yield
            return
        who = f"account {reader.grant.account}"
        if reader.grant.account is None:
            peer = request.client.host if request.client is not None else ""
            forwarded = request.headers.getlist("X-Forwarded-For")
            who = f"address {site(self._entrance.proxies.client(peer, forwarded))}"
        if self._asking[who] >= AT_A_TIME:
            raise Refused(
                close_codes.OVERLOADED, f"overloaded: more than {AT_A_TIME} requests at a time"
            )
        self._asking[who] += 1
        try:
            yield
        finally:
            self._asking[who] -= 1
            if not self._asking[who]:
                del self._asking[who]


def history(
    entrance: Entrance,
    archive: Archive,
    admins: AdminTokens,
    sockets: Sockets,
) -> APIRouter:
    """Return the routes of `/history`; `admins` may ask for any account's.

    `sockets` have the clock by which clients are let in, and know when this instance leaves.
    """
    router = APIRouter(tags=["history"])
    desk = _Desk(entrance, archive, admins, sockets)

    @router.get(
        PATH,
        response_class=Response,
        responses=_ANSWERS,
        dependencies=[Depends(_credential)],
        openapi_extra={"parameters": _PARAMETERS, "security": [{}]},
    )
    async def read(request: Request) -> Response:
        """Tell a client its own past events, a page at a time."""
        return await desk.answer(request)

    @router.options(PATH, include_in_schema=False)
    async def preflight(request: Request) -> Response:
        return client_http.preflight(
            request, entrance.doors, methods="GET", headers="Authorization"
        )

    return router


def _limit(text: str | None) -> int:
    if text is None:
        return LIMIT
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST))):
        raise BadRequest(f"limit: not a number from 1 to {MOST}: {text[:100]!r}")
    if not 1 <= int(text) <= MOST:
        raise BadRequest(f"limit: not from 1 to {MOST}: {text}")
    return int(text)
