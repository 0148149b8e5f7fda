"""A client of the bridge, through as many connections as it takes.

The rule kept here: what is handed out is handed out once and in order, and whatever happens
between two connections, nothing is missed but what a `Gap` tells.
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
    """Iterate over it, or over its `events()`; close it, or use it as a context.

    Args:
        url: The bridge, as `https://push.example`; or several: each attempt takes the next.
        token: The credential, or a function that gives one, asked at each connection and in time
            before the last one expires. It may be a coroutine function.
        account: Who it is, where authentication is switched off.
        topics: Which topics; None for all that may be read without being named, empty for none.
        rooms: The rooms to be in.
        types: Which types of events, `order.*` allowed; None for all.
        since: An RFC 3339 time to replay from, until there is a place to resume from.
        resume_from: Where another client was: what its `resume_from` said.
        queue: How many items may wait to be taken, before the socket is not read any more.
        on_state: Called with each new state; must not wait.
        welcome_seconds: How long a connection may take until it is welcomed.
        backoff: The base and the upper bound of the waits between attempts, in seconds.
        renew_seconds: The least time between two renewals of the token.
        dial: What `websockets.connect` shall be told besides, as `ssl` or `proxy`.
    """

    def __init__(  # noqa: PLR0913 - as many as there are options
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

    # -- what it tells -----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many items wait to be taken."""
        return self._buffer.waiting

    @property
    def resume_from(self) -> str | None:
        """Where another client may go on: behind all that was taken of this one."""
        return self._cursor.text

    @property
    def connection(self) -> Connected | None:
        """The welcome of the connection that there is; None where there is none."""
        return None if self._connection is None else self._connection.welcome

    # -- what it is told ---------------------------------------------------------------------------

    def start(self) -> None:
        """Connect. To iterate over it starts it too."""
        if self._state is State.IDLE:
            self._transition(Trigger.START)
            self._task = asyncio.create_task(self._run(), name="push-bridge client")

    async def close(self) -> None:
        """Say goodbye. What waits is let go; `resume_from` is before it."""
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
        """Subscribe to more, now and on every later connection.

        Raises:
            Rejected: If the bridge refuses it, or the client is closed before it answers.
        """
        return await self._request_change("subscribe", topics, rooms)

    async def unsubscribe(
        self, *, topics: Iterable[str] = (), rooms: Iterable[str] = ()
    ) -> Subscription:
        """Subscribe to less.

        Raises:
            Rejected: If the bridge refuses it, or the client is closed before it answers.
        """
        return await self._request_change("unsubscribe", topics, rooms)

    def wake(self) -> None:
        """Tell it that the network may have changed: it asks, or comes back, at once."""
        self._wake_event.set()
        if self._connection is not None:
            self._connection.wake()

    def drop(self) -> None:
        """Break the connection that there is, as a network would; it comes back."""
        if self._connection is not None:
            self._connection.drop()

    # -- what it hands out -------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        self.start()
        return self

    async def __anext__(self) -> Item:
        """Take the next item.

        Raises:
            Refused: If the bridge has said that it should not come back.
        """
        self.start()
        if (item := await self._buffer.get()) is None:
            raise StopAsyncIteration
        return item

    async def events(self) -> AsyncGenerator[Event, None]:
        """Take events only; what else there is is passed over, gaps too.

        Raises:
            Refused: If the bridge has said that it should not come back.
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

    # -- its course --------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            end = await self._connect_until_final()
        except Exception as error:  # noqa: BLE001 - the user has to hear of it, whatever it is
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
        """Connect again and again; return the end that is final."""
        unauthenticated_count = 0
        for url in cycle(self._options.urls):
            try:
                token = await self._get_token()
            except Exception as error:  # noqa: BLE001 - it is the user's own, and may pass
                end, was_welcomed = ConnectionEnd(None, f"no token: {error!r}"), False
            else:
                end, was_welcomed = await self._connect(url, token)
            unauthenticated_count = (0 if was_welcomed else unauthenticated_count) + (
                end.code == UNAUTHENTICATED
            )
            may_retry_token = callable(self._options.token) and unauthenticated_count == 1
            if end.is_final and not (end.code == UNAUTHENTICATED and may_retry_token):
                return end
            await self._wait_before_retry(end)
        raise AssertionError

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
