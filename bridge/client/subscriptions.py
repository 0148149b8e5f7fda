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

ChangeOp: TypeAlias = Literal["subscribe", "unsubscribe"]
_FORBIDDEN = 4501


@dataclass(eq=False)
class SubscriptionRequest:
    """One change that was asked for; `answer` is what comes of it."""

    op: ChangeOp
    id: str
    topics: list[str]
    rooms: list[str]
    result: asyncio.Future[Subscription]
    is_in_hello: bool = field(default=False)

    def frame(self) -> Frame:
        """The frame that asks for it."""
        lists = {"topics": self.topics, "rooms": self.rooms}
        return {
            "op": self.op,
            "id": self.id,
            **{name: names for name, names in lists.items() if names},
        }


class Subscriptions:
    """`topics` of None are all that may be read without being named."""

    def __init__(self, topics: Iterable[str] | None, rooms: Iterable[str]) -> None:
        self.topics = None if topics is None else list(dict.fromkeys(topics))
        self.rooms = list(dict.fromkeys(rooms))
        self._request_ids = count(1)
        self._pending_requests: dict[str, SubscriptionRequest] = {}

    def add_request(
        self, op: ChangeOp, topics: Iterable[str], rooms: Iterable[str]
    ) -> SubscriptionRequest:
        """Note a change that is wanted."""
        result = asyncio.get_running_loop().create_future()
        request = SubscriptionRequest(
            op, str(next(self._request_ids)), list(topics), list(rooms), result
        )
        self._pending_requests[request.id] = request
        return request

    def hello_fields(self) -> dict[str, Any]:
        """Return the hello's fields, with all that was not answered yet."""
        topics, rooms = self.topics, self.rooms
        for request in self._pending_requests.values():
            # Nobody here knows which topics are all of them: such a change is asked for afterwards.
            request.is_in_hello = not (request.topics and self.topics is None)
            if request.is_in_hello:
                topics = (
                    None if topics is None else _apply_change(topics, request.op, request.topics)
                )
                rooms = _apply_change(rooms, request.op, request.rooms)
        fields: dict[str, Any] = {} if topics is None else {"topics": topics}
        return {**fields, "rooms": rooms} if rooms else fields

    def handle_welcome(self, welcome: Frame) -> list[SubscriptionRequest]:
        """Settle what was in the hello; return what has to be asked for now."""
        for request in [each for each in self._pending_requests.values() if each.is_in_hello]:
            self._confirm(request, welcome)
        return list(self._pending_requests.values())

    def handle_reply(self, reply: Frame) -> SubscriptionRequest | None:
        """Settle what was asked for; return it where it was done."""
        request = self._pending_requests.get(str(reply.get("id")))
        if request is None:
            return None
        if reply.get("ok"):
            self._confirm(request, reply)
            return request
        del self._pending_requests[request.id]
        _fail(request, Rejected(str(reply.get("error")), str(reply.get("reason"))))
        return None

    def fail_all(self, code: int, reason: str) -> None:
        """Answer all that still wait: the client is over."""
        for request in self._pending_requests.values():
            error_code = "forbidden" if code == _FORBIDDEN and request.is_in_hello else "closed"
            _fail(request, Rejected(error_code, reason))
        self._pending_requests.clear()

    def _confirm(self, request: SubscriptionRequest, reply: Frame) -> None:
        del self._pending_requests[request.id]
        if request.topics:
            self.topics = list(reply["topics"])
        self.rooms = _apply_change(self.rooms, request.op, request.rooms)
        if not request.result.done():
            topics, rooms = tuple(reply["topics"]), tuple(reply["rooms"])
            request.result.set_result(Subscription(topics, rooms, reply["cursor"]))


def _apply_change(names: list[str], op: ChangeOp, change: list[str]) -> list[str]:
    if op == "subscribe":
        return list(dict.fromkeys([*names, *change]))
    return [name for name in names if name not in change]


def _fail(request: SubscriptionRequest, error: Rejected) -> None:
    if not request.result.done():
        request.result.set_exception(error)
