"""Leader election by Kafka's consumer group `{prefix}.duties`.

Rule: the member that has the first partition of the state topic is the leader until Kafka revokes
it. All leaders share one transactional id, so Kafka fences a leader that was replaced (KIP-98).
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
#: A consumer cannot leave the group while it joins. One that is not stopped stays a member.
_LEAVE_TIMEOUT_SECONDS: Final = 15.0


class LeaderTask(Protocol):
    """The work of the leader."""

    async def run(self) -> None:
        """Work until cancelled, or until another instance is the leader."""


class LeaderElection(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member of the group that runs `leader_task` while it is the leader."""

    def __init__(self, access: KafkaAccess, topics: BridgeTopics, leader_task: LeaderTask) -> None:
        self._access = access
        self._topics = topics
        self._leader_task = leader_task
        self._election_partition = TopicPartition(topics.state, 0)
        self._running_task: asyncio.Task[None] | None = None

    @property
    def is_leader(self) -> bool:
        """Whether the task runs. False for the moments between a failure and the restart."""
        return self._running_task is not None and not self._running_task.done()

    async def run(self) -> None:
        """Stay in the group until cancelled.

        Cancellation: leaves the group, so that another instance takes over at once. During a
        rebalance this takes some seconds.
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
                        consumer.pause(*assigned)  # elects only; `Consumer` reads the records
                    await consumer.getmany(timeout_ms=_POLL_TIMEOUT_MS)
                    if self._election_partition in consumer.assignment() and not self.is_leader:
                        self._start_task()
            except CLIENT_ERRORS as error:
                _log.debug("leader election failed, retrying error=%r", error)
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
        """Stop the task. Kafka may make another instance the leader now."""
        if self._election_partition in set(revoked):
            await self._stop_task()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Start the task, if the election partition is assigned here."""
        if self._election_partition in set(assigned):
            self._start_task()

    def _start_task(self) -> None:
        if not self.is_leader:
            _log.info("this instance is the leader now")
            self._running_task = asyncio.create_task(self._leader_task.run(), name="leader tasks")
            self._running_task.add_done_callback(_log_failure)

    async def _stop_task(self) -> None:
        if self._running_task is not None:
            self._running_task.cancel()
            await asyncio.wait([self._running_task])
            self._running_task = None


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error(
            "a leader task failed and starts again; please report it error=%r", task.exception()
        )
