"""What journeys that strike at everything have in common: the instances, the end, and who is owed.

The rule kept here: everybody was there before the first event, and sees the end of every partition.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from tests.harness.deliveries import Owed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.harness.deliveries import Observation, Produced

#: What was missed is found in memory, in Kafka after a start, or nearly always in Kafka.
INSTANCES: dict[str, dict[str, str]] = {
    "blue": {},
    "green": {"REPLAY__WARM_SECONDS": "0"},
    "amber": {"REPLAY__JOURNAL_BYTES": "0", "REPLAY__WAIT_SECONDS": "5"},
}


class Client(Protocol):
    """A client that comes back by itself; `topics` of None are all."""

    topics: frozenset[str] | None

    def lasts(self) -> int: ...
    async def until(self, condition: Callable[[], object], seconds: float) -> None: ...
    def observation(self, owed: Sequence[Owed], topics: frozenset[str]) -> Observation: ...


async def settled(clients: Iterable[Client], partitions: Mapping[str, int], seconds: float) -> None:
    """Wait until everybody has seen the end of every partition; the checker says who has not."""

    async def settle(client: Client) -> None:
        topics = partitions if client.topics is None else client.topics
        due = sum(partitions[topic] for topic in topics)
        await client.until(lambda: client.lasts() >= due, seconds)

    await asyncio.gather(*map(settle, clients), return_exceptions=True)


def owed(produced: Sequence[Produced]) -> list[Owed]:
    """All of every partition, since everybody was there before the first event."""
    counts = Counter((event.topic, event.partition) for event in produced)
    ends = {
        place: max(e.offset for e in produced if (e.topic, e.partition) == place) + 1
        for place in counts
    }
    assert counts == ends, "the producer has doubled or lost events, so nothing can be judged"
    return [Owed(*place, first=0, end=end) for place, end in ends.items()]


def observed(
    clients: Iterable[Client], due: Sequence[Owed], topics: Iterable[str]
) -> list[Observation]:
    """What the checker has to know of each client."""
    every = frozenset(topics)
    return [
        client.observation(
            [each for each in due if client.topics is None or each.topic in client.topics], every
        )
        for client in clients
    ]
