"""Reads the settings of a running instance again, and serves the topics that they name now.

Rules: wrong settings change nothing. Topics change in one step; everything else waits for a
restart and is named. Of two reloads at once, the second one begins when the first has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from bridge.config.environment import SettingError
from bridge.config.settings import differing_settings
from bridge.web.api.reload import InstanceDraining, SettingsRefused
from bridge.web.api.schemas import Reloaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.app.served_topics import ServedTopics
    from bridge.config.settings import Settings

_log = logging.getLogger(__name__)

#: A reload is answered once its new topics are read, but not later than this.
START_TIMEOUT_SECONDS: Final = 3.0


class Reloader:
    """Reloads `settings`, with which the instance was started."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], Settings],
        topics: ServedTopics,
        *,
        flush: Callable[[], Awaitable[None]],
        is_draining: Callable[[], bool],
    ) -> None:
        """`load` raises `SettingError`. `flush` writes what was queued for clients."""
        self._settings = settings
        self._load = load
        self._topics = topics
        self._flush = flush
        self._is_draining = is_draining
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def request(self) -> None:
        """Reload soon, for a signal: the outcome is logged."""
        task = asyncio.get_running_loop().create_task(self._reload_logged(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_logged(self) -> None:
        try:
            await self.reload()
        except SettingsRefused:
            pass  # logged already
        except InstanceDraining:
            _log.warning("settings were not reloaded: the instance is draining")

    async def reload(self) -> Reloaded:
        """Read the settings, apply them, and return what they change.

        Raises:
            SettingsRefused: If they are wrong. Nothing changes.
            InstanceDraining: If the instance is about to end. Nothing changes.

        Cancellation: safe. Either all topics change, or none.
        """
        async with self._lock:
            if self._is_draining():
                raise InstanceDraining
            try:
                settings = await asyncio.to_thread(self._load)
            except SettingError as error:
                _log.error(
                    "settings were not reloaded, those of before stay in force; correct this, and"
                    " reload again: %s",
                    error,
                )
                raise SettingsRefused(str(error)) from None
            if self._is_draining():
                raise InstanceDraining
            reloaded = self._apply(settings)
            await self._flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(START_TIMEOUT_SECONDS):
                    await self._topics.wait_until_read(reloaded.added)
            return reloaded

    def _apply(self, settings: Settings) -> Reloaded:
        changes = self._topics.replace(settings.topics)
        reloaded = Reloaded(
            *(sorted(changes.added), sorted(changes.removed), sorted(changes.changed)),
            differing_settings(self._settings, settings),
        )
        names = {field: ",".join(getattr(reloaded, field)) for field in reloaded.__struct_fields__}
        _log.info(
            "settings were reloaded: topics are as they say now; what `restart` names waits for a"
            " restart added=%(added)s removed=%(removed)s changed=%(changed)s restart=%(restart)s",
            names,
        )
        return reloaded
