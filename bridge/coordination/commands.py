"""Publishes commands, and applies the records of the control and state topics to this instance.

Rule: commands written after this instance started are executed. Of older ones only the durable
effects are applied. An invalid record becomes a dead letter; the next ones are still applied.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from bridge.core.coordination import commands, state_records
from bridge.core.coordination.commands import DURABLE_COMMANDS, Drain
from bridge.core.ports import NotAcknowledged, RecordTooLarge, UnknownTopic
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.record import UnusableRecord
from bridge.kafka.producer import KafkaPublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.coordination.groups import GroupSweeper
    from bridge.coordination.leader_tasks import LeaderTasks
    from bridge.coordination.presence import PresencePublisher
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.presence import PresenceTracker
    from bridge.core.coordination.room_memberships import CommandExecutor
    from bridge.core.coordination.state_records import StateRecord, Tombstone
    from bridge.core.protocol.cursor import Position
    from bridge.core.protocol.record import Batch, Record
    from bridge.kafka.client.client import KafkaAccess

_log = logging.getLogger(__name__)
_STATE_REPORT_SECONDS: Final = 60.0


class CommandProducer:
    """Writes to the control topic. Its publisher knows no other topic, so no event goes there."""

    def __init__(self, access: KafkaAccess, control_topic: str) -> None:
        self.publisher = KafkaPublisher(access, {control_topic: control_topic})
        self._control_topic = control_topic

    async def publish(self, command: Command) -> Position:
        """Return the position of the record, once Kafka has acknowledged it.

        Raises:
            RecordRefused: If Kafka refuses it.
            NotAcknowledged: If Kafka does not acknowledge it in time.

        Cancellation: the command may or may not have been written.
        """
        key, value = commands.record_key(command), commands.encode(command)
        try:
            return await self.publisher.publish(self._control_topic, value, key=key)
        except (UnknownTopic, RecordTooLarge):
            raise NotAcknowledged from None


class CommandConsumer:
    """Dispatches records of the control and state topics to everything that they change."""

    def __init__(
        self,
        topics: BridgeTopics,
        command_executor: CommandExecutor,
        presence_tracker: PresenceTracker,
        presence_publisher: PresencePublisher,
        leader_tasks: LeaderTasks,
        group_sweeper: GroupSweeper,
        *,
        max_bytes: int,
        drain: Callable[[], None],
        add_dead_letter: Callable[[UnusableRecord], None],
    ) -> None:
        """`max_bytes` limits the value of a command. `drain` shuts this instance down."""
        self._topics = topics
        self._command_executor = command_executor
        self._presence_tracker = presence_tracker
        self._presence_publisher = presence_publisher
        self._leader_tasks = leader_tasks
        self._group_sweeper = group_sweeper
        self._max_bytes = max_bytes
        self._drain = drain
        self._add_dead_letter = add_dead_letter
        self._unusable_state_count = 0
        self._state_reported_at = float("-inf")
        self._start_offsets: dict[int, int] = {}
        self._topic_ids: dict[str, bytes] = {}

    @property
    def consumed_topics(self) -> tuple[str, str]:
        """The control and the state topic."""
        return self._topics.control, self._topics.state

    def set_start_offsets(self, offsets: Mapping[int, int]) -> None:
        """Set the end of the control topic at the start, by partition. Commands below are old."""
        self._start_offsets = dict(offsets)

    def start_topic(self, topic: str, topic_id: bytes) -> None:
        """Note the id of `topic`. If the topic was recreated, all of its commands are new."""
        if self._topic_ids.setdefault(topic, topic_id) != topic_id:
            self._topic_ids[topic] = topic_id
            if topic == self._topics.control:
                self._start_offsets = {}
                self._leader_tasks.reset_checkpoint()
            _log.error(
                "the topic was recreated: its former memberships, titles and revocations apply on"
                " this instance until it restarts topic=%s",
                topic,
            )

    def report_gap(self, topic: str, reason: str) -> None:
        """Drain this instance if Kafka deleted unread records: its state is incomplete."""
        if reason == "expired":
            _log.critical(
                "Kafka deleted records before they were read: draining, restart this instance"
                " topic=%s",
                topic,
            )
            self._drain()

    def apply(self, batch: Batch) -> None:
        """Apply the records of one partition, in order."""
        for record in batch.records:
            try:
                if batch.topic == self._topics.control:
                    self._apply_command(record, batch.partition)
                else:
                    self._apply_state(state_records.decode(record))
            except InvalidRecord as error:
                self._add_dead_letter(UnusableRecord(batch.topic, batch.partition, record, error))
                if batch.topic == self._topics.state:
                    self._report_state(record, error)
                if isinstance(error, state_records.UnreadableRevocation):
                    self._apply_state(error.revocation)

    def _report_state(self, record: Record, error: InvalidRecord) -> None:
        """Log an unusable state record, once a minute: only the bridge writes this topic."""
        self._unusable_state_count += 1
        now = time.monotonic()
        if now - self._state_reported_at >= _STATE_REPORT_SECONDS:
            self._state_reported_at = now
            _log.error(
                "a state record cannot be understood and is a dead letter; records behind it are"
                " applied: find out who writes this topic topic=%s offset=%d count=%d error=%s",
                self._topics.state,
                record.offset,
                self._unusable_state_count,
                error,
            )

    def _apply_command(self, record: Record, partition: int) -> None:
        command = commands.decode(record, self._max_bytes)
        is_new = record.offset >= self._start_offsets.get(partition, 0)
        if not is_new and not isinstance(command, DURABLE_COMMANDS):
            return
        if isinstance(command, Drain):
            if command.instance == self._command_executor.instance:
                _log.warning(
                    "draining on command topic=%s offset=%d", self._topics.control, record.offset
                )
                self._drain()
            return
        state_record = self._command_executor.memberships.apply(command)
        self._command_executor.apply(command)
        if state_record is not None:
            self._leader_tasks.queue_state_update(record.offset, *state_record)

    def _apply_state(self, state_record: StateRecord | Tombstone) -> None:
        if isinstance(state_record, state_records.Checkpoint):
            self._leader_tasks.apply_checkpoint(state_record.offset)
        self._presence_tracker.apply(state_record, time.monotonic())
        if (merged := self._command_executor.memberships.load(state_record)) is not None:
            self._leader_tasks.replace_state_update(*merged)
        self._presence_publisher.apply(state_record)
        self._group_sweeper.apply(state_record)
