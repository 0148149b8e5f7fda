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

from bridge.kafka.client.client import CLIENT_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.coordination.topics import BridgeTopics
    from bridge.kafka.client.client import KafkaAccess

_log = logging.getLogger(__name__)

SESSION_TIMEOUT_MS: Final = 10_000
_POLL_TIMEOUT_MS: Final = 1_000
_RETRY_SECONDS: Final = 1.0
#: A consumer can not leave while it joins, and what is not stopped is left behind.
_LEAVE_TIMEOUT_SECONDS: Final = 15.0


class LeaderTask(Protocol):
    """What is done on duty."""

    async def run(self) -> None:
        """Do it until cancelled, or until somebody else does."""


class LeaderElection(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Takes part in the group, and does the work while it is on duty."""

    def __init__(self, access: KafkaAccess, topics: BridgeTopics, leader_task: LeaderTask) -> None:
        self._access = access
        self._topics = topics
        self._leader_task = leader_task
        self._election_partition = TopicPartition(topics.state, 0)
        self._running_task: asyncio.Task[None] | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this instance is the one."""
        return self._running_task is not None and not self._running_task.done()

    async def run(self) -> None:
        """Take part until cancelled.

        Cancellation: leaves the group, so that another takes over at once; while Kafka deals out
        the group's partitions that takes some seconds.
        """
        if self._access.may_create_topics:  # the embedded broker has one instance
            await self._run_without_election()
        while True:
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self._access.bootstrap_servers,
                group_id=self._topics.duties,
                enable_auto_commit=False,
                session_timeout_ms=SESSION_TIMEOUT_MS,
                heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
                **self._access.options,
            )
            try:
                await consumer.start()
                consumer.subscribe([self._topics.state], listener=self)
                while True:
                    if assigned := consumer.assignment():
                        consumer.pause(*assigned)  # the feed reads it; here it only stands for duty
                    await consumer.getmany(timeout_ms=_POLL_TIMEOUT_MS)
                    if self._election_partition in consumer.assignment() and not self.is_leader:
                        self._start_task()
            except CLIENT_ERRORS as error:
                _log.debug("duties: %r", error)
            finally:
                await self._stop_task()
                with contextlib.suppress(*CLIENT_ERRORS):
                    async with asyncio.timeout(_LEAVE_TIMEOUT_SECONDS):
                        await consumer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _run_without_election(self) -> None:
        try:
            while True:
                self._start_task()
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await self._stop_task()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Stop: Kafka may give the duty to somebody else now."""
        if self._election_partition in set(revoked):
            await self._stop_task()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Begin, if it is for us."""
        if self._election_partition in set(assigned):
            self._start_task()

    def _start_task(self) -> None:
        if not self.is_leader:
            _log.info("on duty")
            self._running_task = asyncio.create_task(self._leader_task.run(), name="duty")
            self._running_task.add_done_callback(_log_failure)

    async def _stop_task(self) -> None:
        if self._running_task is not None:
            self._running_task.cancel()
            await asyncio.wait([self._running_task])
            self._running_task = None


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a duty failed, begun anew: %r", task.exception())
