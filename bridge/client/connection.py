"""One connection: hello, frames, keepalive, token renewal, and how it ended.

Rule: no frame is read if the buffer is full. No task and no socket outlives the connection.
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

from bridge.client.errors import (
    CONNECTION_BROKEN,
    ConnectionEnd,
    end_from_close,
    end_from_http_response,
)
from bridge.client.frames import Frame, parse_frame
from bridge.client.items import Connected, Item, Warned, item_from_frame
from bridge.client.position import ResumeCursor
from bridge.client.states import Trigger
from bridge.client.timing import Keepalive, RenewalSchedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.client.buffer import Buffer
    from bridge.client.options import Options
    from bridge.client.subscriptions import Subscriptions

SUBPROTOCOL: Final = Subprotocol("push-bridge.v1")
RENEWAL_REQUEST_ID: Final = "renewal"  # never a number, as ids of subscription requests are
STABLE_SECONDS: Final = 5.0
_MALFORMED_FRAME_ERRORS: Final = (KeyError, TypeError, ValueError, AttributeError)


class Connection:
    """A connection that runs once. `has_made_progress` resets the client's backoff."""

    def __init__(
        self,
        options: Options,
        cursor: ResumeCursor,
        subscriptions: Subscriptions,
        buffer: Buffer,
        on_trigger: Callable[[Trigger], None],
        get_token: Callable[[], Awaitable[str | None]],
    ) -> None:
        self._options = options
        self._cursor = cursor
        self._subscriptions = subscriptions
        self._buffer = buffer
        self._on_trigger = on_trigger
        self._get_token = get_token
        self._websocket: ClientConnection | None = None
        self._keepalive: Keepalive | None = None
        self._wake_event = asyncio.Event()
        self._is_reading_paused = False
        self._drop_reason = CONNECTION_BROKEN
        self._closing_frame: Frame | None = None
        self._closing_text: str | None = None
        self._renewal_reply: asyncio.Future[Frame] | None = None
        self.welcome: Connected | None = None
        self.has_made_progress = False

    # -- life cycle --------------------------------------------------------------------------------

    async def run(self, url: str, token: str | None) -> ConnectionEnd:
        """Connect and read until the connection ends; return how it ended."""
        try:
            return await self._run(url, token)
        except asyncio.CancelledError:
            await self._close()
            raise
        finally:
            self.drop()

    async def _run(self, url: str, token: str | None) -> ConnectionEnd:
        try:
            try:
                async with asyncio.timeout(self._options.welcome_seconds):
                    welcome = await self._open(url, token)
            except TimeoutError:
                return ConnectionEnd(None, "no welcome in time")
            welcomed_at = time.monotonic()
            tasks = [asyncio.create_task(self._monitor_keepalive(welcome.heartbeat))]
            if callable(self._options.token) and welcome.expires is not None:
                tasks.append(asyncio.create_task(self._renew_token(welcome.expires)))
            try:
                while True:
                    await self._handle(await self._receive())
            finally:
                self.has_made_progress |= time.monotonic() - welcomed_at > STABLE_SECONDS
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        except ConnectionClosed as error:
            end = end_from_close(error, self._closing_frame, self._closing_text)
            return ConnectionEnd(None, self._drop_reason) if end.code is None else end
        except InvalidStatus as error:
            return end_from_http_response(error.response)
        except (OSError, InvalidHandshake, EOFError) as error:
            return ConnectionEnd(None, str(error) or type(error).__name__)
        except _MALFORMED_FRAME_ERRORS as error:
            return ConnectionEnd(None, f"a frame breaks the protocol: {error!r}")

    async def _open(self, url: str, token: str | None) -> Connected:
        """Connect, send the hello, and return the welcome."""
        cursor = self._cursor.text
        self._websocket = await connect(
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
        since = self._options.since if cursor is None else None
        optional_fields = {"token": token, "cursor": cursor, "since": since}
        hello = {name: value for name, value in optional_fields.items() if value is not None}
        await self.send(
            {
                "op": "hello",
                **self._options.hello_fields(),
                **self._subscriptions.hello_fields(),
                **hello,
            }
        )
        while True:
            frame, text = await self._receive()
            if frame["op"] == "welcome":
                break
            await self._handle((frame, text))
        welcome = item_from_frame(frame, text)
        if not isinstance(welcome, Connected):
            raise TypeError(text)
        if cursor is None:
            # Even before the user takes the welcome: a reconnect must not miss what follows it.
            self._cursor.advance(frame)
        self._buffer.put(frame, welcome)
        self.welcome = welcome
        self._on_trigger(Trigger.WELCOMED if cursor is None and since is None else Trigger.RETURNED)
        for request in self._subscriptions.handle_welcome(frame):
            await self.send(request.frame())
        return welcome

    async def _close(self) -> None:
        """Send a close frame, and wait at most 1 s for the server's."""
        if self._websocket is not None:
            with contextlib.suppress(ConnectionClosed, OSError):
                await self._websocket.close()

    # -- receiving ---------------------------------------------------------------------------------

    async def _receive(self) -> tuple[Frame, str]:
        if self._websocket is None:
            raise OSError(CONNECTION_BROKEN)
        text = await self._websocket.recv(decode=True)
        if self._keepalive is not None:
            self._keepalive.mark_received(time.monotonic())
        return parse_frame(text), text

    async def _handle(self, received: tuple[Frame, str]) -> None:
        frame, text = received
        item = item_from_frame(frame, text)
        ResumeCursor(frame.get("cursor"))  # raises for a malformed cursor, before the user takes it
        match frame["op"]:
            case "event":
                self.has_made_progress = True
            case "live":
                self.has_made_progress = True
                self._on_trigger(Trigger.CAUGHT_UP)
            case "closing":
                self._closing_frame, self._closing_text = frame, text
            case "reply":
                self._handle_reply(frame)
        if item is not None and self._buffer.is_full:
            self._is_reading_paused = True
            await self._buffer.wait_for_space()
            self._is_reading_paused = False
        self._buffer.put(frame, item)

    def _handle_reply(self, reply: Frame) -> None:
        if reply.get("id") == RENEWAL_REQUEST_ID:
            if self._renewal_reply is not None and not self._renewal_reply.done():
                self._renewal_reply.set_result(reply)
        elif (request := self._subscriptions.handle_reply(reply)) and request.op == "unsubscribe":
            for topic in request.topics:  # it may have been recreated when it is subscribed again
                self._cursor.forget_topic(topic)

    # -- sending -----------------------------------------------------------------------------------

    async def send(self, frame: dict[str, Any]) -> None:
        """Send a frame. A closed connection is no error here: reading reports it."""
        if self._websocket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._websocket.send(json.dumps(frame))

    def wake(self) -> None:
        """Send a heartbeat now; the server must respond within 3 s."""
        if self._keepalive is not None:
            self._keepalive.probe_now(time.monotonic())
            self._wake_event.set()

    def drop(self, reason: str = CONNECTION_BROKEN) -> None:
        """Abort the connection without a close frame."""
        if self._websocket is not None:
            self._drop_reason = reason
            self._websocket.transport.abort()

    async def _monitor_keepalive(self, heartbeat_seconds: float) -> None:
        """Send heartbeats if nothing arrives; drop the connection if the server stays silent."""
        keepalive = self._keepalive = Keepalive(heartbeat_seconds, time.monotonic())
        while not keepalive.has_timed_out(now := time.monotonic()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(keepalive.seconds_until_due(now)):
                    await self._wake_event.wait()
            now = time.monotonic()
            if self._is_reading_paused:
                keepalive.mark_received(now)
            elif self._wake_event.is_set() or keepalive.probe_if_due(now):
                await self.send({"op": "heartbeat"})
            self._wake_event.clear()
        self.drop("the server is silent")

    async def _renew_token(self, expires: str) -> None:
        """Replace the token in time before it expires; failures become warnings."""
        schedule = RenewalSchedule(expires, time.time(), self._options.renew_seconds)
        while True:
            await asyncio.sleep(schedule.delay_seconds(time.time()))
            try:
                token = await self._get_token()
            except Exception as error:  # noqa: BLE001 - the user's code
                self._put_warning(Warned("no_token", repr(error)))
                continue
            self._renewal_reply = asyncio.get_running_loop().create_future()
            await self.send({"op": "token", "id": RENEWAL_REQUEST_ID, "token": token})
            reply = await self._renewal_reply
            if reply.get("ok"):
                schedule.set_token(str(token), time.time())
            else:
                self._put_warning(Warned(str(reply.get("error")), str(reply.get("reason"))))

    def _put_warning(self, item: Item) -> None:
        if not self._buffer.is_full:
            self._buffer.put(None, item)
