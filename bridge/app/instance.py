"""One instance: builds its parts, runs them, and ends them in order.

Start: the listener first, so that `/healthz` answers and early clients get 4006; then Kafka,
for as long as that takes. End: the clients, the listener, then Kafka, within a time limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from bridge.app.builders import build_coordination, build_kafka, build_web
from bridge.app.end_deadline import EndDeadline
from bridge.app.reload import Reloader
from bridge.coordination.topics import CannotCreateTopics
from bridge.kafka.client.client import REQUEST_ERRORS, KafkaAccess, KafkaClient
from bridge.web.transport.http_connections import warn_of_descriptors
from bridge.web.transport.server import DrainingServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine

    from bridge.config.settings import Settings

_log = logging.getLogger(__name__)

#: An instance has ended this much later than `BRIDGE_DRAIN_SECONDS` after the signal.
END_SECONDS: Final = 4.5
#: Kafka has at most the first to end, and at least the second. After a second signal the second.
_KAFKA_END_SECONDS: Final = (4.0, 0.5)
_RETRY_SECONDS: Final = 1.0


class Instance:
    """One bridge. With a listener `admin`, operators are served on that one only."""

    def __init__(
        self,
        settings: Settings,
        *,
        access: KafkaAccess,
        client_factory: Callable[[KafkaAccess], KafkaClient] = KafkaClient,
        loopback_only: bool = False,
        loopback_pages: bool = False,
        admin: socket.socket | None = None,
        page_token: str | None = None,
        load_settings: Callable[[], Settings] | None = None,
    ) -> None:
        """`page_token` is an admin token that the page at `/` hands to everybody who opens it.

        `loopback_pages` lets all pages connect that this machine serves, on any port.

        `load_settings` reads the settings again for a reload, and raises `SettingError`.
        """
        self._admin = admin
        self._client = client_factory(access)
        self._coordination = build_coordination(settings, access, self._client, self.request_drain)
        self._kafka = build_kafka(settings, access, self._client, self._coordination)
        self._reloader = Reloader(
            settings,
            load_settings or (lambda: settings),
            self._kafka.served_topics,
            flush=self._kafka.flusher.flush_in_batches,
            is_draining=lambda: self._server.should_exit,
        )
        self._web = build_web(
            settings,
            self._coordination,
            self._kafka,
            loopback_only=loopback_only,
            loopback_pages=loopback_pages,
            admin_port=None if admin is None else admin.getsockname()[1],
            page_token=page_token,
            reload=self._reloader.reload,
        )
        self._server = DrainingServer(
            self._web.app,
            self._web.websocket_endpoint.create_connection,
            self._drain,
            begin_drain=self._web.pool.begin_drain,
            drain_seconds=settings.drain_seconds,
            on_hangup=self._reloader.request,
            http_connections=self._web.http_connections,
        )
        self._failure: Exception | None = None
        self._limits = settings.limits
        self._drain_seconds = settings.drain_seconds
        self._drain_started_at = 0.0  # seconds of the loop's clock

    async def run(self, listener: socket.socket, *, on_ready: Callable[[], None]) -> None:
        """Serve on `listener` until a signal; call `on_ready` once the consumer has caught up.

        A part that ends by itself is a bug: it is logged, the instance drains, and its exception is
        raised here.

        Cancellation: ends at once, without a drain.
        """
        warn_of_descriptors(self._limits.connections, self._limits.http_connections)
        listeners = [listener, *([self._admin] if self._admin else [])]
        with contextlib.ExitStack() as at_end:
            end_deadline = EndDeadline()
            try:
                async with asyncio.TaskGroup() as tasks:
                    parts = [
                        tasks.create_task(self._supervise(name, part), name=name)
                        for name, part in self._parts(on_ready).items()
                    ]
                    try:
                        await self._server.serve(listeners)
                    finally:
                        for part in parts:
                            part.cancel()
                        at_end.enter_context(end_deadline.limit(self._kafka_end_seconds()))
            finally:
                await self._client.close()
        if self._failure is not None:
            raise self._failure

    def request_drain(self) -> None:
        """Drain and end, as after a signal."""
        self._server.request_exit()

    def _parts(self, on_ready: Callable[[], None]) -> dict[str, Coroutine[None, None, None]]:
        """Return what runs beside the server, by name."""
        parts = {"consumer": self._consume(on_ready), "connections": self._web.pool.run()}
        if self._web.jwks is not None:
            parts["JWKS"] = self._web.jwks.run()
        for number, publisher in enumerate(self._kafka.publishers):
            parts[f"publisher {number}"] = publisher.run()
        return parts

    async def _supervise(self, name: str, part: Coroutine[None, None, None]) -> None:
        """Run `part`, which never ends by itself; drain the instance if it does."""
        try:
            await part
        except CannotCreateTopics as error:
            self._failure = self._failure or error
        except Exception as error:  # noqa: BLE001 - any failure of a part ends the instance
            self._failure = self._failure or error
            _log.critical("%s failed: the instance ends", name, exc_info=error)
        else:
            _log.critical("%s ended: the instance ends", name)
        self._drain_seconds = 0.0  # its clients miss events until they are elsewhere
        self.request_drain()

    async def _consume(self, on_ready: Callable[[], None]) -> None:
        while True:
            try:
                await self._client.connect()
            except REQUEST_ERRORS as error:
                _log.warning("Kafka does not answer at the start, will keep trying: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        await self._coordination.service.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._kafka.consumer.run(), name="consumer")
            tasks.create_task(self._kafka.replay_scheduler.run(), name="replay")
            await self._coordination.ready.wait()
            tasks.create_task(self._coordination.service.run(), name="coordination")
            on_ready()

    async def _drain(self) -> None:
        self._drain_started_at = asyncio.get_running_loop().time()
        _log.info(
            "draining: clients are closed with 4001 and reconnect elsewhere clients=%d seconds=%g",
            len(self._web.pool),
            self._drain_seconds,
        )
        await self._web.pool.drain(self._drain_seconds)

    def _kafka_end_seconds(self) -> float:
        """Return how long Kafka may take to end."""
        longest, shortest = _KAFKA_END_SECONDS
        if self._server.force_exit:
            return shortest
        latest = self._drain_started_at + self._drain_seconds + END_SECONDS
        return max(shortest, min(longest, latest - asyncio.get_running_loop().time()))
