"""The `/v1` calls about who is where, without a socket: some are connected here, some elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx

from bridge.core.coordination.directory import Directory
from bridge.core.coordination.membership import Members
from bridge.core.coordination.presence import Roster
from bridge.core.coordination.state_records import Alive, Present
from bridge.core.protocol.cursor import Position
from bridge.web.api.commands import commands
from bridge.web.api.listings import listings
from bridge.web.api.schemas import Partition, Topic
from bridge.web.app import site
from bridge.web.auth.origins import Doors
from bridge.web.http.rate_limit import Pace
from tests.core.given import attached, hub
from tests.harness.frames import compiled
from tests.web.posting import BEARER, TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fastapi import APIRouter

    from bridge.core.coordination.commands import Command

#: The lists that there are, each with the field by which it is ordered.
LISTS = {"connections": "id", "rooms": "room", "instances": "instance", "topics": "topic"}
SINCE = "2026-11-18T11:06:40.123Z"
#: What has to be percent-encoded in a path, or is easily taken for something else there.
ODD_NAMES = [
    *("a/b", "/", "//", "a/", "/a", "a//b", "rooms/r/connections/c", "a/accounts/b", "../x"),
    *(
        "%",
        "%2F",
        "%2f",
        "%25",
        "a%2Fb/c",
        "100% wool",
        "a+b",
        "a b",
        " ",
        "?",
        "a?b=c",
        "#",
        "a#b",
    ),
    *(";", "a;b", "=", "&", ":", "order:42", "é", "ж", "\U0001f600", "\ufffd", "\u00a0", '"', "\\"),
    *("x" * 200, "é" * 100, "{room}", "~", "'"),
]
WRONG_NAMES = ["a,b", "*", "a*", "\n", "\x00", "\x7f", "\x85", "x" * 201, "é" * 101]


class Orders:
    """Keeps what is ordered; fails with `error` where that is set."""

    def __init__(self) -> None:
        self.sent: list[Command] = []
        self.error: Exception | None = None

    async def send(self, command: Command) -> Position:
        if self.error is not None:
            raise self.error
        self.sent.append(command)
        return Position("push-bridge.control", 0, len(self.sent) - 1)


class Registry:
    """Who is connected to `i1`, which is asked, and to others; and a client of the API."""

    def __init__(self, *, per_second: float = 1e9) -> None:
        self.hub = hub()
        self.roster, self.members, self.orders = Roster(), Members(), Orders()
        self.heard: dict[str, float] = {}
        self.topics: list[Topic] = []
        self.now = 1e6
        self.pace = Pace(per_second, now=lambda: self.now)

    def routers(self, *tokens: str) -> list[APIRouter]:
        directory = Directory(self.hub, self.roster, self.members)
        listed = listings(
            directory, tokens or (TOKEN,), heard=self.heard.get, topics=lambda: self.topics
        )
        return [commands(self.orders, directory, tokens or (TOKEN,), pace=self.pace), listed]

    def here(self, id: str, account: str | None = "ann", **asked: Any) -> None:
        """Let a client be connected to this instance."""
        attached(self.hub, id, account, **asked).address = "192.0.2.1"

    def elsewhere(
        self,
        id: str,
        account: str | None = "ann",
        rooms: Iterable[str] = (),
        topics: Iterable[str] = ("orders",),
        *,
        instance: str = "i2",
        types: list[str] | None = None,
    ) -> None:
        """Let the state topic have said that a client is connected to another instance."""
        where = (account, "192.0.2.2", SINCE, [*rooms], [*topics], types)
        self.roster.come(Present(id, instance, "boot", *where))

    def runs(self, instance: str, *, ready: bool = True) -> None:
        """Let the state topic have said that an instance runs."""
        self.roster.hear(Alive(instance, "boot", SINCE, SINCE, ready=ready))

    def reads(self, topic: str) -> None:
        """Let this instance read a topic."""
        partitions = [Partition(0, 5, 7, 2), Partition(1, 0, 0, 0)]
        self.topics.append(Topic(topic, f"shop.{topic}", "reading", 3, partitions))


class Caller:
    """Asks, and has every answer judged by the published schemas."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(self, path: str, status: int = 200, **query: Any) -> Any:
        """Return what `GET /v1/{path}` answers."""
        answer = await self.http.get(f"/v1/{path}", params=query, headers=BEARER)
        return read(answer, status, path)

    async def do(self, method: str, path: str, status: int = 202, **more: Any) -> Any:
        """Return what a command answers."""
        answer = await self.http.request(method, f"/v1/{path}", headers=BEARER, **more)
        return read(answer, status, "commands")

    async def pages(self, path: str, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
        """Return the items of every page."""
        found = [await self.ask(path, limit=limit, **query)]
        while found[-1]["next"] is not None:
            found.append(await self.ask(path, limit=limit, page=found[-1]["next"], **query))
        return [page["items"] for page in found]


def read(answer: httpx.Response, status: int, path: str) -> Any:
    """Return the body of an answer, checked."""
    assert answer.status_code == status, answer.text
    parts = path.split("/")
    if status >= 400:
        name, media = "problem", "application/problem+json"
    else:
        name, media = parts[0], "application/json"
        if len(parts) > 1 or name == "commands":
            name = name.removesuffix("s")
    assert answer.headers["content-type"] == media
    body = answer.json()
    compiled(f"http/{name}").validate(body)
    return body


@contextlib.asynccontextmanager
async def calling(registry: Registry, *tokens: str) -> AsyncIterator[Caller]:
    """A site with these calls, open to those who have one of `tokens`."""
    app = site(Doors(), registry.routers(*tokens), {})  # which is asked for elsewhere
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        yield Caller(http)
