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

from bridge.client.buffer import Inbox
from bridge.client.connection import Link
from bridge.client.errors import UNAUTHENTICATED, End, Refused, Rejected
from bridge.client.items import Connected, Disconnected, Event, Item, Subscription
from bridge.client.options import Options, Token, names, websocket_url
from bridge.client.position import Place
from bridge.client.states import Happening, State, after
from bridge.client.subscriptions import Op, Wishes
from bridge.client.timing import BASE_SECONDS, LEAST_SECONDS, MOST_SECONDS, Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from types import TracebackType

CLOSED = 1000


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
        backoff: tuple[float, float] = (BASE_SECONDS, MOST_SECONDS),
        renew_seconds: float = LEAST_SECONDS,
        dial: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = Options(
            urls=tuple(map(websocket_url, [url] if isinstance(url, str) else url)),
            token=token,
            account=account,
            types=None if types is None else tuple(names("types", types)),
            since=since,
            queue=queue,
            welcome_seconds=welcome_seconds,
            backoff=backoff,
            renew_seconds=renew_seconds,
            dial=dial or {},
        )
        self._place = Place(resume_from)
        self._inbox = Inbox(self._place, queue)
        self._wishes = Wishes(
            None if topics is None else names("topics", topics), names("rooms", rooms)
        )
        self._backoff = Backoff(*backoff)
        self._state = State.IDLE
        self._on_state = on_state
        self._link: Link | None = None
        self._woken = asyncio.Event()
        self._course: asyncio.Task[None] | None = None

    # -- what it tells -----------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    @property
    def waiting(self) -> int:
        """How many items wait to be taken."""
        return self._inbox.waiting

    @property
    def resume_from(self) -> str | None:
        """Where another client may go on: behind all that was taken of this one."""
        return self._place.text

    @property
    def connection(self) -> Connected | None:
        """The welcome of the connection that there is; None where there is none."""
        return None if self._link is None else self._link.welcome

    # -- what it is told ---------------------------------------------------------------------------

    def start(self) -> None:
        """Connect. To iterate over it starts it too."""
        if self._state is State.IDLE:
            self._move(Happening.START)
            self._course = asyncio.create_task(self._run(), name="push-bridge client")

    async def close(self) -> None:
        """Say goodbye. What waits is let go; `resume_from` is before it."""
        self._move(Happening.STOPPED)
        self._wishes.give_up(CLOSED, "the client was closed")
        if self._course is not None and not self._course.done():
            self._inbox.clear()
            self._course.cancel()
            await asyncio.wait([self._course])
        self._inbox.end()

    async def subscribe(
        self, *, topics: Iterable[str] = (), rooms: Iterable[str] = ()
    ) -> Subscription:
        """Subscribe to more, now and on every later connection.

        Raises:
            Rejected: If the bridge refuses it, or the client is closed before it answers.
        """
        return await self._change("subscribe", topics, rooms)

    async def unsubscribe(
        self, *, topics: Iterable[str] = (), rooms: Iterable[str] = ()
    ) -> Subscription:
        """Subscribe to less.

        Raises:
            Rejected: If the bridge refuses it, or the client is closed before it answers.
        """
        return await self._change("unsubscribe", topics, rooms)

    def wake(self) -> None:
        """Tell it that the network may have changed: it asks, or comes back, at once."""
        self._woken.set()
        if self._link is not None:
            self._link.wake()

    def drop(self) -> None:
        """Break the connection that there is, as a network would; it comes back."""
        if self._link is not None:
            self._link.drop()

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
        if (item := await self._inbox.take()) is None:
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
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # -- its course --------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            end = await self._roam()
        except Exception as error:  # noqa: BLE001 - the user has to hear of it, whatever it is
            self._finish(Happening.STOPPED, error, CLOSED, repr(error))
            return
        refusal = Refused(end.code or CLOSED, end.reason)
        self._finish(Happening.REFUSED, refusal, refusal.code, end.reason)

    def _finish(self, why: Happening, error: Exception, code: int, reason: str) -> None:
        self._link = None
        self._wishes.give_up(code, reason)
        self._inbox.end(error)
        self._move(why)

    async def _roam(self) -> End:
        """Connect again and again; return the end that is final."""
        refusals = 0
        for url in cycle(self._options.urls):
            try:
                token = await self._token()
            except Exception as error:  # noqa: BLE001 - it is the user's own, and may pass
                end, welcomed = End(None, f"no token: {error!r}"), False
            else:
                end, welcomed = await self._connect(url, token)
            refusals = (0 if welcomed else refusals) + (end.code == UNAUTHENTICATED)
            may_ask = callable(self._options.token) and refusals == 1
            if end.is_final and not (end.code == UNAUTHENTICATED and may_ask):
                return end
            await self._wait(end)
        raise AssertionError

    async def _connect(self, url: str, token: str | None) -> tuple[End, bool]:
        link = self._link = Link(
            self._options, self._place, self._wishes, self._inbox, self._move, self._token
        )
        try:
            end = await link.run(url, token)
        finally:
            self._link = None
        if link.is_fruitful:
            self._backoff.reset()
        return end, link.welcome is not None

    async def _wait(self, end: End) -> None:
        delay = self._backoff.next(end.retry_after)
        self._inbox.clear()
        self._inbox.put(None, Disconnected(end.code, end.reason, delay, end.frame))
        self._woken.clear()
        self._move(Happening.LOST)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._woken.wait()
        self._move(Happening.DUE)

    async def _token(self) -> str | None:
        told = self._options.token() if callable(self._options.token) else self._options.token
        return await told if inspect.isawaitable(told) else told

    async def _change(self, op: Op, topics: Iterable[str], rooms: Iterable[str]) -> Subscription:
        if self._state is State.CLOSED:
            raise Rejected("closed", "the client is closed")
        request = self._wishes.ask(op, names("topics", topics), names("rooms", rooms))
        if self._link is not None and self._link.welcome is not None:
            await self._link.send(request.frame())
        return await request.answer

    def _move(self, happening: Happening) -> None:
        if (state := after(self._state, happening)) is not None:
            self._state = state
            if self._on_state is not None:
                self._on_state(state)
