"""A broker in memory with many events, of which few are for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kafka.headless_instance import envelope
from tests.kafka.held_replays import HeldReplayClient
from tests.kafka.memory_kafka import MemoryKafkaClient

if TYPE_CHECKING:
    from tests.kafka.resuming_client import ResumingClient


class SparseKafka(HeldReplayClient, MemoryKafkaClient):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.fetch_max_bytes = 1 << 13


async def wait_all_live(*clients: ResumingClient) -> None:
    for client in clients:
        await client.wait_live()


def sparse_values(count: int, **options: Any) -> list[bytes]:
    """Events of which every tenth is for all."""
    unmatched = envelope(to="nobody", **options)
    return [unmatched if n % 10 else envelope(n, **options) for n in range(count)]


def matching_offsets(start: int, end: int) -> dict[int, list[int]]:
    """Those that are, as they come from partition 0."""
    return {0: [n for n in range(start, end) if n % 10 == 0]}
