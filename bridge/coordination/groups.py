"""Deletes the consumer groups of instances that are gone for good.

Rules: only groups that an instance has noted in the state topic, and only while they are empty.
Groups serve Kafka's tools, which show an instance's lag; nobody reads their offsets back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from aiokafka import errors

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import (
    ConnectionPresence,
    ConsumerGroup,
    InstanceHeartbeat,
    Tombstone,
)
from bridge.kafka.client.client import REQUEST_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from bridge.coordination.state_writer import StateWriter
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.coordination.state_records import StateRecord
    from bridge.kafka.client.client import KafkaClient

_log = logging.getLogger(__name__)

MAX_POLL_SECONDS: Final = 30.0
#: Groups deleted in one look. The others come with the next one.
MAX_DELETIONS: Final = 20


class GroupSweeper:
    """Notes the group of `instance`, and deletes those of others while this one is the leader."""

    def __init__(
        self,
        client: KafkaClient,
        state_writer: StateWriter,
        topics: BridgeTopics,
        instance: str,
        *,
        commits: bool,
        sweep_seconds: float,
        is_leader: Callable[[], bool],
        alive: Container[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`alive` has the names of the instances that run. With 0 seconds nothing is deleted."""
        self._client = client
        self._state_writer = state_writer
        self._topics = topics
        self._instance = instance
        self._commits = commits
        self._sweep_seconds = sweep_seconds
        self._is_leader = is_leader
        self._alive = alive
        self._clock = clock
        #: By instance with a group: when it was last heard of.
        self._heard_at: dict[str, float] = {}
        self._is_refused = False

    def apply(self, record: StateRecord | Tombstone) -> None:
        """Apply a record of the state topic."""
        match record:
            case ConsumerGroup(instance=instance):
                self._heard_at[instance] = self._clock()
            case InstanceHeartbeat(instance=instance) | ConnectionPresence(instance=instance):
                if instance in self._heard_at:
                    self._heard_at[instance] = self._clock()
            case Tombstone("group", (instance,)):
                self._heard_at.pop(instance, None)
                if instance == self._instance:
                    self._note()  # the leader deleted it just before this instance started
            case _:
                pass

    async def run(self) -> None:
        """Note the own group, then delete others' that are due, until cancelled.

        Cancellation: safe. What was deleted without a tombstone is deleted again later.
        """
        self._note()
        if not self._sweep_seconds:
            return
        while True:
            await asyncio.sleep(min(MAX_POLL_SECONDS, max(1.0, self._sweep_seconds / 4)))
            if self._is_leader():
                await self.sweep()

    async def sweep(self) -> None:
        """Delete the groups that are due, at most `MAX_DELETIONS`."""
        for instance in self._due()[:MAX_DELETIONS]:
            group = f"{self._topics.prefix}.{instance}"
            try:
                await self._client.delete_group(group)
            except errors.NonEmptyGroup:
                self._heard_at[instance] = self._clock()  # somebody else uses it
                continue
            except errors.GroupAuthorizationFailedError:
                self._report_refusal(group)
                return
            except REQUEST_ERRORS as error:
                _log.debug("the group is not deleted, retrying group=%s error=%r", group, error)
                return
            _log.info("deleted the consumer group of an instance that is gone group=%s", group)
            key = state_records.record_key(ConsumerGroup(instance))
            self._state_writer.queue_state_record(self._topics.state, key, None)
            del self._heard_at[instance]

    def _due(self) -> list[str]:
        earliest = self._clock() - self._sweep_seconds
        return [
            instance
            for instance, heard_at in self._heard_at.items()
            if heard_at <= earliest and instance not in self._alive and instance != self._instance
        ]

    def _note(self) -> None:
        if self._commits:
            record = ConsumerGroup(self._instance)
            self._state_writer.queue_state_record(
                self._topics.state, state_records.record_key(record), state_records.encode(record)
            )

    def _report_refusal(self, group: str) -> None:
        if not self._is_refused:
            self._is_refused = True
            _log.warning(
                "groups of instances that are gone stay in Kafka: this instance needs the right"
                " Delete on Group %s; or set BRIDGE_KAFKA__SWEEP_SECONDS=0",
                group,
            )
