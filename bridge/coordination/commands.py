"""Takes what the bridge's own topics say, and lets it act here.

Rules: a command acts from the moment on in which it is read; one from before the start is only kept
as far as it lasts. What can not be understood becomes a dead letter, and is no obstacle.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import commands, state_records
from bridge.core.coordination.commands import DURABLE_COMMANDS, Drain
from bridge.core.ports import NotAcknowledged, RecordTooLarge, UnknownTopic
from bridge.core.protocol.envelope import UnusableRecord
from bridge.core.protocol.event import InvalidRecord
from bridge.kafka.producer import KafkaPublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.coordination.leader_tasks import LeaderTasks
    from bridge.coordination.presence import PresencePublisher
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.membership import CommandExecutor
    from bridge.core.coordination.presence import PresenceTracker
    from bridge.core.protocol.cursor import Position
    from bridge.core.protocol.envelope import Batch, Record
    from bridge.kafka.client.client import KafkaAccess


class CommandProducer:
    """Writes to the topic `control`, by a writer of its own: no event ever goes there."""

    def __init__(self, access: KafkaAccess, control_topic: str) -> None:
        self.publisher = KafkaPublisher(access, {control_topic: control_topic})
        self._control_topic = control_topic

    async def publish(self, command: Command) -> Position:
        """Write a command; return where it stands, once Kafka has acknowledged it.

        Raises:
            NotAcknowledged: If Kafka has not answered within some seconds.

        Cancellation: the command may or may not have been written.
        """
        key, value = commands.record_key(command), commands.encode(command)
        try:
            return await self.publisher.publish(self._control_topic, value, key=key)
        except (UnknownTopic, RecordTooLarge):
            raise NotAcknowledged from None


_log = logging.getLogger(__name__)


class CommandContext(NamedTuple):
    """Who this instance is, and what it does about what it is told.

    `leave` drains it; `dead` takes records that can not be used.
    """

    instance: str
    max_bytes: int
    drain: Callable[[], None]
    add_dead_letter: Callable[[UnusableRecord], None]


class CommandConsumer:
    """One instance's part in what all of them are told."""

    def __init__(
        self,
        topics: BridgeTopics,
        command_executor: CommandExecutor,
        presence_tracker: PresenceTracker,
        presence_publisher: PresencePublisher,
        leader_tasks: LeaderTasks,
        context: CommandContext,
    ) -> None:
        self._topics = topics
        self._command_executor = command_executor
        self._presence_tracker = presence_tracker
        self._presence_publisher = presence_publisher
        self._leader_tasks = leader_tasks
        self._context = context
        self._start_offsets: dict[int, int] = {}
        self._topic_ids: dict[str, bytes] = {}

    @property
    def consumed_topics(self) -> tuple[str, str]:
        """What it reads."""
        return self._topics.control, self._topics.state

    def set_start_offsets(self, offsets: Mapping[int, int]) -> None:
        """Say which commands were there before the start: those below these offsets."""
        self._start_offsets = dict(offsets)

    def start_topic(self, topic: str, topic_id: bytes) -> None:
        """Say that reading `topic` begins, or begins anew with another identity."""
        if self._topic_ids.setdefault(topic, topic_id) != topic_id:
            self._topic_ids[topic] = topic_id
            if topic == self._topics.control:
                self._start_offsets = {}
                self._leader_tasks.reset_checkpoint()
            _log.error("%s was created anew: what was kept in it holds here until the end", topic)

    def report_gap(self, topic: str, reason: str) -> None:
        """Say that what `topic` has said can not be read any more, for this reason."""
        if reason == "expired":
            _log.critical("%s: Kafka forgot what was not read yet; ending, to begin anew", topic)
            self._context.drain()

    def apply(self, batch: Batch) -> None:
        """Take what was read."""
        for record in batch.records:
            try:
                if batch.topic == self._topics.control:
                    self._apply_command(record, batch.partition)
                else:
                    self._apply_state(record)
            except InvalidRecord as error:
                self._context.add_dead_letter(
                    UnusableRecord(batch.topic, batch.partition, record, error)
                )

    def _apply_command(self, record: Record, partition: int) -> None:
        command = commands.decode(record, self._context.max_bytes)
        is_new = record.offset >= self._start_offsets.get(partition, 0)
        if not is_new and not isinstance(command, DURABLE_COMMANDS):
            return
        if isinstance(command, Drain):
            if command.instance == self._context.instance:
                _log.warning(
                    "draining: a command at %s:%d says so", self._topics.control, record.offset
                )
                self._context.drain()
            return
        state_record = self._command_executor.execute(command)
        if state_record is not None:
            self._leader_tasks.queue_state_update(record.offset, *state_record)

    def _apply_state(self, record: Record) -> None:
        state_record = state_records.decode(record)
        if isinstance(state_record, state_records.Checkpoint):
            self._leader_tasks.apply_checkpoint(state_record.offset)
        self._presence_tracker.apply(state_record, time.monotonic())
        if (merged := self._command_executor.memberships.load(state_record)) is not None:
            self._leader_tasks.replace_state_update(*merged)
        self._presence_publisher.apply(state_record)
