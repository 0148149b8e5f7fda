"""Which instance does what only one may do: Kafka's own group assignment decides.

Rule: whoever Kafka gave the first partition of the state topic in the group of duties is on duty,
until Kafka takes it back. What is written on duty is written in transactions of one name, so that
one who lost it without noticing writes nothing more (KIP-98, fencing).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

from bridge.kafka.client.client import CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.coordination.topics import Own
    from bridge.kafka.client.client import Access

_log = logging.getLogger(__name__)

SESSION_MS: Final = 10_000
_POLL_MS: Final = 1_000
_RETRY_SECONDS: Final = 1.0
#: A consumer can not leave while it joins, and what is not stopped is left behind.
_LEAVE_SECONDS: Final = 15.0


class Work(Protocol):
    """What is done on duty."""

    async def run(self) -> None:
        """Do it until cancelled, or until somebody else does."""


class Duties(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Takes part in the group, and does the work while it is on duty."""

    def __init__(self, access: Access, own: Own, work: Work) -> None:
        self._access = access
        self._own = own
        self._work = work
        self._partition = TopicPartition(own.state, 0)
        self._doing: asyncio.Task[None] | None = None

    @property
    def on_duty(self) -> bool:
        """Whether this instance is the one."""
        return self._doing is not None and not self._doing.done()

    async def run(self) -> None:
        """Take part until cancelled.

        Cancellation: leaves the group, so that another takes over at once; while Kafka deals out
        the group's partitions that takes some seconds.
        """
        if self._access.may_create_topics:  # the embedded broker has one instance
            await self._always()
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._access.bootstrap_servers,
                group_id=self._own.duties,
                enable_auto_commit=False,
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=SESSION_MS // 4,
                **self._access.options,
            )
            try:
                await consumer.start()
                consumer.subscribe([self._own.state], listener=self)
                while True:
                    if assigned := consumer.assignment():
                        consumer.pause(*assigned)  # the feed reads it; here it only stands for duty
                    await consumer.getmany(timeout_ms=_POLL_MS)
                    if self._partition in consumer.assignment() and not self.on_duty:
                        self._begin()
            except CUT_OFF as error:
                _log.debug("duties: %r", error)
            finally:
                await self._end()
                with contextlib.suppress(*CUT_OFF):
                    async with asyncio.timeout(_LEAVE_SECONDS):
                        await consumer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _always(self) -> None:
        try:
            while True:
                self._begin()
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await self._end()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop: Kafka may give the duty to somebody else now."""
        if self._partition in set(revoked):
            await self._end()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin, if it is for us."""
        if self._partition in set(assigned):
            self._begin()

    def _begin(self) -> None:
        if not self.on_duty:
            _log.info("on duty")
            self._doing = asyncio.create_task(self._work.run(), name="duty")
            self._doing.add_done_callback(_look)

    async def _end(self) -> None:
        if self._doing is not None:
            self._doing.cancel()
            await asyncio.wait([self._doing])
            self._doing = None


def _look(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a duty failed, begun anew: %r", task.exception())
