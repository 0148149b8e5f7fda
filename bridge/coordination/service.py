"""Builds and runs the parts by which instances coordinate through the bridge's own topics.

Rule: they depend on the hub and Kafka only. `app` starts and stops them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from bridge.coordination.commands import CommandConsumer, CommandProducer
from bridge.coordination.groups import GroupSweeper
from bridge.coordination.leader import LeaderElection
from bridge.coordination.leader_tasks import LeaderTasks
from bridge.coordination.presence import PresencePublisher
from bridge.coordination.state_writer import StateWriter
from bridge.coordination.topics import create_topics
from bridge.core.coordination.directory import PresenceDirectory
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.coordination.room_memberships import CommandExecutor, Memberships
from bridge.kafka.client.client import LATEST, REQUEST_ERRORS, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.coordination.dead_letters import DeadLetterQueue
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.client.client import KafkaAccess, KafkaClient
    from bridge.kafka.partitions import AssignedPartitions

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0
#: A start does not wait longer to learn which dead letters are written.
_COMMITTED_TIMEOUT_SECONDS = 3.0


class CoordinationOptions(NamedTuple):
    """What the settings say of coordination."""

    max_command_bytes: int
    dead_letters_per_second: int
    instance_timeout_seconds: float
    commits: bool  #: whether this instance has a consumer group
    sweep_seconds: float


class CoordinationService:
    """Presence, commands, leader election and the leader's tasks of one instance."""

    def __init__(
        self,
        topics: BridgeTopics,
        hub: Hub,
        access: KafkaAccess,
        client: KafkaClient,
        partitions: AssignedPartitions,
        is_ready: Callable[[], bool],
        dead_letters: DeadLetterQueue,
        options: CoordinationOptions,
        *,
        drain: Callable[[], None],
    ) -> None:
        self._access = access
        self._client = client
        self._dead_letters = dead_letters
        self.topics = topics
        self.memberships = Memberships()
        self.presence_tracker = PresenceTracker(options.instance_timeout_seconds)
        self.command_executor = CommandExecutor(hub, self.memberships)
        self.state_writer = StateWriter(access)
        self.presence_publisher = PresencePublisher(
            hub, self.state_writer, self.topics, is_ready=is_ready
        )
        self.leader_tasks = LeaderTasks(
            access,
            client,
            self.topics,
            self.presence_tracker,
            dead_letters,
            dead_letters_per_second=options.dead_letters_per_second,
            is_current=self.presence_publisher.is_current,
            consumer_positions=partitions,
        )
        self.command_producer = CommandProducer(access, self.topics.control)
        self.directory = PresenceDirectory(hub, self.presence_tracker.index, self.memberships)
        self.leader_election = LeaderElection(access, self.topics, self.leader_tasks)
        self.group_sweeper = GroupSweeper(
            client,
            self.state_writer,
            self.topics,
            hub.instance,
            commits=options.commits,
            sweep_seconds=options.sweep_seconds,
            is_leader=lambda: self.leader_election.is_leader,
            alive=self.presence_tracker.index.instances,
        )
        self.command_consumer = CommandConsumer(
            self.topics,
            self.command_executor,
            self.presence_tracker,
            self.presence_publisher,
            self.leader_tasks,
            self.group_sweeper,
            max_bytes=options.max_command_bytes,
            drain=drain,
            add_dead_letter=dead_letters.add,
        )

    def is_leader_for(self, topic: str) -> bool:
        """Whether this instance is the leader and any instance has a subscriber of `topic`."""
        return (
            self.leader_election.is_leader
            and ("topic", topic) in self.presence_tracker.index.by_room_or_topic
        )

    async def prepare(self) -> None:
        """Create the bridge's topics and note the end of `control`. Retry until both succeed.

        Note also which dead letters are written, if Kafka says so in time.

        Cancellation: safe.
        """
        await create_topics(self._client, self._access, self.topics)
        with contextlib.suppress(*REQUEST_ERRORS):  # without them, old dead letters count again
            async with asyncio.timeout(_COMMITTED_TIMEOUT_SECONDS):
                self._dead_letters.set_earlier_offsets(
                    await self._client.committed(self.topics.dead_letters)
                )
        control_topic = self.topics.control
        while True:
            with contextlib.suppress(*REQUEST_ERRORS):
                description = (await self._client.describe_topics([control_topic])).get(
                    control_topic
                )
                if description is not None:
                    leaders = {
                        TopicPartition(control_topic, number): node
                        for number, node in description.leaders.items()
                    }
                    end_offsets = await self._client.list_offsets(
                        dict.fromkeys(leaders, LATEST), leaders
                    )
                    if len(end_offsets) == len(leaders):
                        self.command_consumer.set_start_offsets(
                            {p.number: offset for p, offset in end_offsets.items()}
                        )
                        return
            await asyncio.sleep(_RETRY_SECONDS)

    async def run(self) -> None:
        """Publish presence and take part in leader election, until cancelled.

        Start it after the state topic has been read once.

        Cancellation: the state writer has some seconds to write what is queued.
        """
        self.memberships.finish_loading()
        # The writer is in the outer group: it ends after those that queue records for it.
        async with asyncio.TaskGroup() as writing:
            writer = writing.create_task(self.state_writer.run(), name="state writer")
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self.presence_publisher.run(), name="presence publisher")
                    tasks.create_task(self.leader_election.run(), name="leader election")
                    tasks.create_task(self.group_sweeper.run(), name="consumer groups")
                    tasks.create_task(self.leader_tasks.poll_committed(), name="leader tasks")
            finally:
                writer.cancel()
