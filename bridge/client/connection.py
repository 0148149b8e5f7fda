"""One connection of a client: it says hello, takes in what comes, and says how it ended.

The rule kept here: nothing is read that there is no room for, and nothing outlives the
connection: neither a task nor a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from bridge.client.errors import BROKE, End, closed, refused
from bridge.client.frames import Frame, read
from bridge.client.items import Connected, Item, Warned, item_of
from bridge.client.position import Place
from bridge.client.states import Happening
from bridge.client.timing import Renewal, Silence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.client.buffer import Inbox
    from bridge.client.options import Options
    from bridge.client.subscriptions import Wishes

SUBPROTOCOL: Final = Subprotocol("push-bridge.v1")
RENEWAL: Final = "renewal"  # a request's id, as the wishes' own are numbers
STEADY_SECONDS: Final = 5.0
_MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError)


class Link:
    """`tell` hears what befalls the client. `is_fruitful`: the connection was not for nothing."""

    def __init__(
        self,
        options: Options,
        place: Place,
        wishes: Wishes,
        inbox: Inbox,
        tell: Callable[[Happening], None],
        ask: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._options = options
        self._place = place
        self._wishes = wishes
        self._inbox = inbox
        self._tell = tell
        self._ask = ask
        self._socket: ClientConnection | None = None
        self._silence: Silence | None = None
        self._woken = asyncio.Event()
        self._is_blocked = False
        self._why = BROKE
        self._closing: Frame | None = None
        self._closing_text: str | None = None
        self._renewing: asyncio.Future[Frame] | None = None
        self.welcome: Connected | None = None
        self.is_fruitful = False

    # -- its life ----------------------------------------------------------------------------------

    async def run(self, url: str, token: str | None) -> End:
        """Be connected for as long as that lasts; return how it ended."""
        try:
            return await self._stay(url, token)
        except asyncio.CancelledError:
            await self._part()
            raise
        finally:
            self.drop()

    async def _stay(self, url: str, token: str | None) -> End:
        try:
            try:
                async with asyncio.timeout(self._options.welcome_seconds):
                    welcome = await self._begin(url, token)
            except TimeoutError:
                return End(None, "no welcome in time")
            began = time.monotonic()
            tasks = [asyncio.create_task(self._watch(welcome.heartbeat))]
            if callable(self._options.token) and welcome.expires is not None:
                tasks.append(asyncio.create_task(self._renew(welcome.expires)))
            try:
                while True:
                    await self._take_in(await self._hear())
            finally:
                self.is_fruitful |= time.monotonic() - began > STEADY_SECONDS
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except ConnectionClosed as error:
            end = closed(error, self._closing, self._closing_text)
            return End(None, self._why) if end.code is None else end
        except InvalidStatus as error:
            return refused(error.response)
        except (OSError, InvalidHandshake, EOFError) as error:
            return End(None, str(error) or type(error).__name__)
        except _MALFORMED as error:
            return End(None, f"a frame that breaks the contract: {error!r}")

    async def _begin(self, url: str, token: str | None) -> Connected:
        """Open, say hello, and wait for the welcome."""
        place = self._place.text
        self._socket = await connect(
            f"{url}?hello=1",
            **{
                "subprotocols": [SUBPROTOCOL],
                "compression": None,
                "max_size": None,
                "ping_interval": None,
                "open_timeout": None,
                "close_timeout": 1,
                **self._options.dial,
            },
        )
        since = self._options.since if place is None else None
        told = {"token": token, "cursor": place, "since": since}
        hello = {name: value for name, value in told.items() if value is not None}
        await self.send({"op": "hello", **self._options.hello(), **self._wishes.hello(), **hello})
        while True:
            frame, text = await self._hear()
            if frame["op"] == "welcome":
                break
            await self._take_in((frame, text))
        welcome = item_of(frame, text)
        if not isinstance(welcome, Connected):
            raise TypeError(text)
        if place is None:
            self._place.take(frame)  # whatever the user has taken: what happens is owed from here
        self._inbox.put(frame, welcome)
        self.welcome = welcome
        self._tell(Happening.WELCOMED if place is None and since is None else Happening.RETURNED)
        for request in self._wishes.welcomed(frame):
            await self.send(request.frame())
        return welcome

    async def _part(self) -> None:
        """Say goodbye, and do not wait for long."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed, OSError):
                await self._socket.close()

    # -- what comes --------------------------------------------------------------------------------

    async def _hear(self) -> tuple[Frame, str]:
        if self._socket is None:
            raise OSError(BROKE)
        text = await self._socket.recv(decode=True)
        if self._silence is not None:
            self._silence.heard(time.monotonic())
        return read(text), text

    async def _take_in(self, heard: tuple[Frame, str]) -> None:
        frame, text = heard
        item = item_of(frame, text)
        Place(frame.get("cursor"))  # what the user takes has to be sound
        match frame["op"]:
            case "event":
                self.is_fruitful = True
            case "live":
                self.is_fruitful = True
                self._tell(Happening.CAUGHT_UP)
            case "closing":
                self._closing, self._closing_text = frame, text
            case "reply":
                self._replied(frame)
        if item is not None and self._inbox.is_full:
            self._is_blocked = True
            await self._inbox.room()
            self._is_blocked = False
        self._inbox.put(frame, item)

    def _replied(self, reply: Frame) -> None:
        if reply.get("id") == RENEWAL:
            if self._renewing is not None and not self._renewing.done():
                self._renewing.set_result(reply)
        elif (request := self._wishes.replied(reply)) and request.op == "unsubscribe":
            for topic in request.topics:  # it may be another one of that name when it comes back
                self._place.forget(topic)

    # -- what goes ---------------------------------------------------------------------------------

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame; where the connection has broken, reading will find that out."""
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(json.dumps(frame))

    def wake(self) -> None:
        """Ask at once whether the server is there."""
        if self._silence is not None:
            self._silence.woken(time.monotonic())
            self._woken.set()

    def drop(self, why: str = BROKE) -> None:
        """End the connection without a word."""
        if self._socket is not None:
            self._why = why
            self._socket.transport.abort()

    async def _watch(self, heartbeat: float) -> None:
        """Leave a server from which nothing is heard."""
        silence = self._silence = Silence(heartbeat, time.monotonic())
        while not silence.is_dead(now := time.monotonic()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(silence.until(now)):
                    await self._woken.wait()
            now = time.monotonic()
            if self._is_blocked:
                silence.heard(now)
            elif self._woken.is_set() or silence.asks(now):
                await self.send({"op": "heartbeat"})
            self._woken.clear()
        self.drop("the server is silent")

    async def _renew(self, expires: str) -> None:
        """Keep the token young."""
        renewal = Renewal(expires, time.time(), self._options.renew_seconds)
        while True:
            await asyncio.sleep(renewal.wait(time.time()))
            try:
                token = await self._ask()
            except Exception as error:  # noqa: BLE001 - it is the user's own
                self._warn(Warned("no_token", repr(error)))
                continue
            self._renewing = asyncio.get_running_loop().create_future()
            await self.send({"op": "token", "id": RENEWAL, "token": token})
            reply = await self._renewing
            if reply.get("ok"):
                renewal.renewed(str(token), time.time())
            else:
                self._warn(Warned(str(reply.get("error")), str(reply.get("reason"))))

    def _warn(self, item: Item) -> None:
        if not self._inbox.is_full:
            self._inbox.put(None, item)
