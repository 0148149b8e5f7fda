"""What a client wants to be subscribed to, and who waits to hear that it is.

The rule kept here: what the bridge has granted is asked for again in every hello, and what it has
refused never; what is asked without a connection is in the next hello, and its welcome answers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bridge.client.errors import Rejected
from bridge.client.items import Subscription

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.client.frames import Frame

Op: TypeAlias = Literal["subscribe", "unsubscribe"]
_FORBIDDEN = 4501


@dataclass(eq=False)
class Request:
    """One change that was asked for; `answer` is what comes of it."""

    op: Op
    id: str
    topics: list[str]
    rooms: list[str]
    answer: asyncio.Future[Subscription]
    in_hello: bool = field(default=False)

    def frame(self) -> Frame:
        """The frame that asks for it."""
        lists = {"topics": self.topics, "rooms": self.rooms}
        return {"op": self.op, "id": self.id, **{name: it for name, it in lists.items() if it}}


class Wishes:
    """`topics` of None are all that may be read without being named."""

    def __init__(self, topics: Iterable[str] | None, rooms: Iterable[str]) -> None:
        self.topics = None if topics is None else list(dict.fromkeys(topics))
        self.rooms = list(dict.fromkeys(rooms))
        self._numbers = count(1)
        self._requests: dict[str, Request] = {}

    def ask(self, op: Op, topics: Iterable[str], rooms: Iterable[str]) -> Request:
        """Note a change that is wanted."""
        answer = asyncio.get_running_loop().create_future()
        request = Request(op, str(next(self._numbers)), list(topics), list(rooms), answer)
        self._requests[request.id] = request
        return request

    def hello(self) -> dict[str, Any]:
        """Return the hello's fields, with all that was not answered yet."""
        topics, rooms = self.topics, self.rooms
        for request in self._requests.values():
            # Nobody here knows which topics are all of them: such a change is asked for afterwards.
            request.in_hello = not (request.topics and self.topics is None)
            if request.in_hello:
                topics = None if topics is None else _changed(topics, request.op, request.topics)
                rooms = _changed(rooms, request.op, request.rooms)
        told: dict[str, Any] = {} if topics is None else {"topics": topics}
        return {**told, "rooms": rooms} if rooms else told

    def welcomed(self, welcome: Frame) -> list[Request]:
        """Settle what was in the hello; return what has to be asked for now."""
        for request in [each for each in self._requests.values() if each.in_hello]:
            self._granted(request, welcome)
        return list(self._requests.values())

    def replied(self, reply: Frame) -> Request | None:
        """Settle what was asked for; return it where it was done."""
        request = self._requests.get(str(reply.get("id")))
        if request is None:
            return None
        if reply.get("ok"):
            self._granted(request, reply)
            return request
        del self._requests[request.id]
        _fail(request, Rejected(str(reply.get("error")), str(reply.get("reason"))))
        return None

    def give_up(self, code: int, reason: str) -> None:
        """Answer all that still wait: the client is over."""
        for request in self._requests.values():
            word = "forbidden" if code == _FORBIDDEN and request.in_hello else "closed"
            _fail(request, Rejected(word, reason))
        self._requests.clear()

    def _granted(self, request: Request, told: Frame) -> None:
        del self._requests[request.id]
        if request.topics:
            self.topics = list(told["topics"])
        self.rooms = _changed(self.rooms, request.op, request.rooms)
        if not request.answer.done():
            topics, rooms = tuple(told["topics"]), tuple(told["rooms"])
            request.answer.set_result(Subscription(topics, rooms, told["cursor"]))


def _changed(names: list[str], op: Op, by: list[str]) -> list[str]:
    if op == "subscribe":
        return list(dict.fromkeys([*names, *by]))
    return [name for name in names if name not in by]


def _fail(request: Request, error: Rejected) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)
