"""A broker in memory whose answers a test holds up, or changes on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.kafka.client.client import BrokerConnection, FetchedPartition
from tests.kafka.held_replays import HeldReplayClient, wait_until
from tests.kafka.memory_kafka import MemoryKafkaClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.kafka.client.client import TopicPartition


class ControlledKafka(HeldReplayClient, MemoryKafkaClient):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.fetch_max_bytes = 1 << 13
        self.held_timestamps: set[int] = set()  #: no question of these times is answered
        self.pending_count = 0
        self.max_pending_count = 0
        self.transform_response: Callable[[list[FetchedPartition]], list[FetchedPartition]] = (
            lambda answers: answers
        )

    async def fetch(self, *arguments: Any, **options: Any) -> list[FetchedPartition]:
        responses: list[FetchedPartition] = await super().fetch(*arguments, **options)
        return (
            self.transform_response(responses)
            if options.get("connection") is BrokerConnection.REPLAY
            else responses
        )

    async def list_offsets(
        self, timestamps: Mapping[TopicPartition, int], leaders: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        self.pending_count += 1
        self.max_pending_count = max(self.max_pending_count, self.pending_count)
        try:
            found = await super().list_offsets(timestamps, leaders)
            await wait_until(lambda: self.held_timestamps.isdisjoint(timestamps.values()))
            return found
        finally:
            self.pending_count -= 1
