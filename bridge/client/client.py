"""The client: one stream of items over any number of connections.

Rule: the caller receives each event once and in order, also after a reconnect. If events cannot be
replayed, the caller receives a `Gap`.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from itertools import cycle
from typing import TYPE_CHECKING, Any, Self

from bridge.client.buffer import Buffer
from bridge.client.connection import Connection
from bridge.client.errors import UNAUTHENTICATED, ConnectionEnd, Refused, Rejected
from bridge.client.items import Connected, Disconnected, Event, Item, Subscription
from bridge.client.options import Options, Token, name_list, websocket_url
from bridge.client.position import ResumeCursor
from bridge.client.states import State, Trigger, next_state
from bridge.client.subscriptions import ChangeOp, Subscriptions
from bridge.client.timing import (
    BACKOFF_BASE_SECONDS,
    BACKOFF_MAX_SECONDS,
    MIN_RENEW_SECONDS,
    Backoff,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

NORMAL_CLOSURE = 1000


class Client:
    """Receives items: `async for item in client`. Close it, or use `async with`.

    Args:
        url: The bridge, such as `https://push.example`. Each attempt uses the next of several URLs.
        token: The credential, or a function or coroutine function that returns one. It is called
            for each connection, and before the current token expires.
        account: The account, if authentication is off.
        topics: The topics; empty for none, None for all that the client may read. Without
            authentication, a private topic must be named.
        rooms: The rooms to join.
        types: The event types, such as `order.*`; None for all.
        since: An RFC 3339 time to replay from. It is ignored once there is a cursor.
        resume_from: The `resume_from` of another client; this client continues after it.
        queue: The most items that may wait. While so many wait, the socket is not read.
        on_state: Called with each new state; it must not block.
        welcome_seconds: The time limit from connecting to the welcome.
        backoff: The base and the upper bound of the delay between attempts, in seconds.
        renew_seconds: The least time between two renewals of the token.
        dial: Further arguments of `websockets.connect`, such as `ssl` or `proxy`.
    """

    def __init__(  # noqa: PLR0913 - the public options
        self,
        url: str | Sequence[str],
        *,
        token: Token | None = None,
        account: str | None = None,
        topics: Iterable[str] | None = None,
        rooms: Iterable[str] = (),
        types: Iterable[str] | None = None,
        since: str | None = None,
        resume_from: str | None = None,
        queue: int = 1000,
        on_state: Callable[[State], object] | None = None,
        welcome_seconds: float = 10.0,
        backoff: tuple[float, float] = (BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS),
        renew_seconds: float = MIN_RENEW_SECONDS,
        dial: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = Options(
            urls=tuple(map(websocket_url, [url] if isinstance(url, str) else url)),
            token=token,
            account=account,
            types=None if types is None else tuple(name_list("types", types)),
            since=since,
            queue=queue,
            welcome_seconds=welcome_seconds,
            backoff=backoff,
            renew_seconds=renew_seconds,
            dial=dial or {},
        )
        self._cursor = ResumeCursor(resume_from)
        self._buffer = Buffer(self._cursor, queue)
        self._subscriptions = Subscriptions(
            None if topics is None else name_list("topics", topics), name_list("rooms", rooms)
        )
        self._backoff = Backoff(*backoff)
        self._state = State.IDLE
        self._on_state = on_state
        self._connection: Connection | None = None
        self._wake_event = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- status ------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The current state; `on_state` reports each change."""
        return self._state

    @property
    def waiting(self) -> int:
        """The number of received items that the caller has not read yet."""
        return self._buffer.waiting

    @property
    def resume_from(self) -> str | None:
        """The position after the last item that the caller has read.

        Another client can continue there.
        """
        return self._cursor.text

    @property
    def connection(self) -> Connected | None:
        """The welcome of the current connection; None without one."""
        return None if self._connection is None else self._connection.welcome

    # -- control -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Start to connect. Iteration and `async with` call it too."""
        if self._state is State.IDLE:
            self._transition(Trigger.START)
            self._task = asyncio.create_task(self._run(), name="push-bridge client")

    async def close(self) -> None:
        """Close the connection and drop the waiting items. `resume_from` stays before them."""
        self._transition(Trigger.STOPPED)
        self._subscriptions.fail_all(NORMAL_CLOSURE, "the client was closed")
        if self._task is not None and not self._task.done():
            self._buffer.clear()
            self._task.cancel()
            await asyncio.wait([self._task])
        self._buffer.close()

    async def subscribe(
        self, *, topics: Iterable[str] = (), rooms: Iterable[str] = ()
    ) -> Subscription:
        """Add topics and rooms to this and every later connection.

        Raises:
            Rejected: If the bridge refuses the change, or the client is closed before the reply.
        """
        return await self._request_change("subscribe", topics, rooms)

    async def unsubscribe(
        self, *, topics: Iterable[str] = (), rooms: Iterable[str] = ()
    ) -> Subscription:
        """Remove topics and rooms from this and every later connection.

        Raises:
            Rejected: If the bridge refuses the change, or the client is closed before the reply.
        """
        return await self._request_change("unsubscribe", topics, rooms)

    def wake(self) -> None:
        """Check the connection, or reconnect, at once: the network may have changed."""
        self._wake_event.set()
        if self._connection is not None:
            self._connection.wake()

    def drop(self) -> None:
        """Break the connection as a network failure does; the client reconnects."""
        if self._connection is not None:
            self._connection.drop()

    # -- items -------------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        self.start()
        return self

    async def __anext__(self) -> Item:
        """Return the next item.

        Raises:
            Refused: If the bridge has refused the client for good.
        """
        self.start()
        if (item := await self._buffer.get()) is None:
            raise StopAsyncIteration
        return item

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield events only. All other items are skipped, even a `Gap`.

        Raises:
            Refused: If the bridge has refused the client for good.
        """
        async for item in self:
            if isinstance(item, Event):
                yield item

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # -- connecting and reconnecting ---------------------------------------------------------------

    async def _run(self) -> None:
        try:
            end = await self._connect_until_final()
        except Exception as error:  # noqa: BLE001 - the user must receive every error
            self._finish(Trigger.STOPPED, error, NORMAL_CLOSURE, repr(error))
            return
        refusal = Refused(end.code or NORMAL_CLOSURE, end.reason)
        self._finish(Trigger.REFUSED, refusal, refusal.code, end.reason)

    def _finish(self, trigger: Trigger, error: Exception, code: int, reason: str) -> None:
        self._connection = None
        self._subscriptions.fail_all(code, reason)
        self._buffer.close(error)
        self._transition(trigger)

    async def _connect_until_final(self) -> ConnectionEnd:
        """Connect repeatedly; return the end after which the client must not reconnect."""
        unauthenticated_count = 0
        for url in cycle(self._options.urls):
            try:
                token = await self._get_token()
            except Exception as error:  # noqa: BLE001 - the user's code; it may succeed later
                end, was_welcomed = ConnectionEnd(None, f"no token: {error!r}"), False
            else:
                end, was_welcomed = await self._connect(url, token)
            unauthenticated_count = (0 if was_welcomed else unauthenticated_count) + (
                end.code == UNAUTHENTICATED
            )
            may_get_new_token = callable(self._options.token) and unauthenticated_count == 1
            if end.is_final and not (end.code == UNAUTHENTICATED and may_get_new_token):
                return end
            await self._wait_before_retry(end)
        raise AssertionError  # not reached: `cycle` does not end

    async def _connect(self, url: str, token: str | None) -> tuple[ConnectionEnd, bool]:
        connection = self._connection = Connection(
            self._options,
            self._cursor,
            self._subscriptions,
            self._buffer,
            self._transition,
            self._get_token,
        )
        try:
            end = await connection.run(url, token)
        finally:
            self._connection = None
        if connection.has_made_progress:
            self._backoff.reset()
        return end, connection.welcome is not None

    async def _wait_before_retry(self, end: ConnectionEnd) -> None:
        delay_seconds = self._backoff.next_delay(end.retry_after_seconds)
        self._buffer.clear()
        self._buffer.put(None, Disconnected(end.code, end.reason, delay_seconds, end.closing_text))
        self._wake_event.clear()
        self._transition(Trigger.LOST)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_seconds):
                await self._wake_event.wait()
        self._transition(Trigger.DUE)

    async def _get_token(self) -> str | None:
        token = self._options.token() if callable(self._options.token) else self._options.token
        return await token if inspect.isawaitable(token) else token

    async def _request_change(
        self, op: ChangeOp, topics: Iterable[str], rooms: Iterable[str]
    ) -> Subscription:
        if self._state is State.CLOSED:
            raise Rejected("closed", "the client is closed")
        request = self._subscriptions.add_request(
            op, name_list("topics", topics), name_list("rooms", rooms)
        )
        if self._connection is not None and self._connection.welcome is not None:
            await self._connection.send(request.frame())
        return await request.result

    def _transition(self, trigger: Trigger) -> None:
        if (state := next_state(self._state, trigger)) is not None:
            self._state = state
            if self._on_state is not None:
                self._on_state(state)
