"""The subscriptions of a client, and its requests that have no reply yet.

Rule: every hello has what the bridge has granted, and never what it has refused. A request made
without a connection is part of the next hello, and the welcome is its reply.
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
    """A `subscribe` or `unsubscribe`; `result` is set by its reply."""

    op: ChangeOp
    id: str
    topics: list[str]
    rooms: list[str]
    result: asyncio.Future[Subscription]
    is_in_hello: bool = field(default=False)

    def frame(self) -> Frame:
        """Return the request's frame."""
        lists = {"topics": self.topics, "rooms": self.rooms}
        return {
            "op": self.op,
            "id": self.id,
            **{name: names for name, names in lists.items() if names},
        }


class Subscriptions:
    """Granted topics and rooms; `topics` of None means all that need no name."""

    def __init__(self, topics: Iterable[str] | None, rooms: Iterable[str]) -> None:
        self.topics = None if topics is None else list(dict.fromkeys(topics))
        self.rooms = list(dict.fromkeys(rooms))
        self._request_ids = count(1)
        self._pending_requests: dict[str, SubscriptionRequest] = {}

    def add_request(
        self, op: ChangeOp, topics: Iterable[str], rooms: Iterable[str]
    ) -> SubscriptionRequest:
        """Add a pending request; the caller sends its frame if there is a connection."""
        result = asyncio.get_running_loop().create_future()
        request = SubscriptionRequest(
            op, str(next(self._request_ids)), list(topics), list(rooms), result
        )
        self._pending_requests[request.id] = request
        return request

    def hello_fields(self) -> dict[str, Any]:
        """Return `topics` and `rooms` of a hello, pending requests included."""
        topics, rooms = self.topics, self.rooms
        for request in self._pending_requests.values():
            # The client does not know all topics, so it sends such a request after the welcome.
            request.is_in_hello = not (request.topics and self.topics is None)
            if request.is_in_hello:
                topics = (
                    None if topics is None else _apply_change(topics, request.op, request.topics)
                )
                rooms = _apply_change(rooms, request.op, request.rooms)
        fields: dict[str, Any] = {} if topics is None else {"topics": topics}
        return {**fields, "rooms": rooms} if rooms else fields

    def handle_welcome(self, welcome: Frame) -> list[SubscriptionRequest]:
        """Resolve the requests of the hello; return those that must be sent now."""
        for request in [each for each in self._pending_requests.values() if each.is_in_hello]:
            self._confirm(request, welcome)
        return list(self._pending_requests.values())

    def handle_reply(self, reply: Frame) -> SubscriptionRequest | None:
        """Resolve or reject the request of a reply; return it if it succeeded."""
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
        """Reject all pending requests: the client has ended."""
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
            kept = tuple(reply.get("kept", ()))
            request.result.set_result(Subscription(topics, rooms, reply["cursor"], kept))


def _apply_change(names: list[str], op: ChangeOp, change: list[str]) -> list[str]:
    if op == "subscribe":
        return list(dict.fromkeys([*names, *change]))
    return [name for name in names if name not in change]


def _fail(request: SubscriptionRequest, error: Rejected) -> None:
    if not request.result.done():
        request.result.set_exception(error)
