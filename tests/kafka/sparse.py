"""A broker in memory with many events, of which few are for those who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kafka.memory import MemoryCluster
from tests.kafka.pacing import Paced
from tests.kafka.returning import envelope

if TYPE_CHECKING:
    from tests.kafka.replay_client import Client


class SparseKafka(Paced, MemoryCluster):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.most_bytes = 1 << 13


async def all_live(*clients: Client) -> None:
    for client in clients:
        await client.live()


def sparse(count: int, **more: Any) -> list[bytes]:
    """Events of which every tenth is for all."""
    nobodys = envelope(to="nobody", **more)
    return [nobodys if n % 10 else envelope(n, **more) for n in range(count)]


def tenths(start: int, end: int) -> dict[int, list[int]]:
    """Those that are, as they come from partition 0."""
    return {0: [n for n in range(start, end) if n % 10 == 0]}
