"""Writes what is published over HTTP, for as long as the instance runs.

Rules: Kafka may be away at the start and at any time, and nobody waits for it for long; whatever
it has not acknowledged by then is called that, and its outage is logged once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from bridge.core.ports import NotAcknowledged, NoTopic, TooLarge
from bridge.kafka.client.client import CUT_OFF
from bridge.kafka.producer import Producer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.cursor import Position
    from bridge.kafka.client.client import Access

_log = logging.getLogger(__name__)

#: How long one record may take, in seconds.
PATIENCE: Final = 15.0
_RETRY_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 3.0
_ACKNOWLEDGED: Final = "acknowledged"
_OUTCOMES: Final[dict[type[Exception], str]] = {
    NotAcknowledged: "not_acknowledged",
    NoTopic: "no_topic",
    TooLarge: "too_large",
}


class Writer:
    """Writes to `topics`: the public names, mapped to Kafka's."""

    def __init__(self, access: Access, topics: Mapping[str, str]) -> None:
        self._access = access
        self._topics = topics
        self._producer: Producer | None = None  # once it is connected
        self._failing = False
        #: How often what was to be written ended how.
        self.outcomes = dict.fromkeys([_ACKNOWLEDGED, *_OUTCOMES.values()], 0)

    async def run(self) -> None:
        """Connect, however long that takes, and stay so until cancelled.

        Cancellation: what is on its way has some seconds to be acknowledged.
        """
        producer = Producer(self._access)
        try:
            while self._producer is None:
                try:
                    await producer.start()
                    self._producer = producer
                except CUT_OFF as error:
                    self._failed(error)
                    await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.get_running_loop().create_future()
        finally:
            with contextlib.suppress(*CUT_OFF):
                async with asyncio.timeout(_LAST_SECONDS):
                    await producer.stop()

    async def write(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Write one record to a public topic; return where it stands there.

        Raises:
            NoTopic: If there is no such topic.
            TooLarge: If Kafka does not take so much at a time.
            NotAcknowledged: If Kafka has not answered in time, or not at all yet.

        Cancellation: the record may or may not have been written.
        """
        try:
            at = await self._write(topic, value, key, headers)
        except tuple(_OUTCOMES) as error:
            self.outcomes[_OUTCOMES[type(error)]] += 1
            raise
        self.outcomes[_ACKNOWLEDGED] += 1
        return at

    async def _write(
        self, topic: str, value: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Position:
        name = self._topics.get(topic)
        if name is None:
            raise NoTopic(topic)
        if self._producer is None:
            raise NotAcknowledged
        try:
            async with asyncio.timeout(PATIENCE):
                at = await self._producer.write(name, value, key=key, headers=headers)
        except CUT_OFF as error:
            self._failed(error)
            raise NotAcknowledged from None
        if self._failing:
            self._failing = False
            _log.warning("Kafka takes records again")
        return at._replace(topic=topic)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            _log.warning("Kafka does not take records: %r", error)
        self._failing = True
