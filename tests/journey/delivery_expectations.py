"""What journeys that strike at everything have in common: the instances, the end, and who is owed.

The rule kept here: everybody was there before the first event, and sees the end of every partition.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from tests.harness.deliveries import ExpectedRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tests.harness.deliveries import Observation, ProducedEvent

#: What was missed is found in memory, in Kafka after a start, or nearly always in Kafka.
INSTANCE_SETTINGS: dict[str, dict[str, str]] = {
    "blue": {},
    "green": {"REPLAY__WARM_SECONDS": "0"},
    "amber": {"REPLAY__JOURNAL_BYTES": "0", "REPLAY__WAIT_SECONDS": "5"},
}


class CheckedClient(Protocol):
    """A client that comes back by itself; `topics` of None are all."""

    topics: frozenset[str] | None

    def last_event_count(self) -> int: ...
    async def wait_until(self, condition: Callable[[], object], seconds: float) -> None: ...
    def observation(self, owed: Sequence[ExpectedRange], topics: frozenset[str]) -> Observation: ...


async def wait_for_last_events(
    clients: Iterable[CheckedClient], partitions: Mapping[str, int], seconds: float
) -> None:
    """Wait until everybody has seen the end of every partition; the checker says who has not."""

    async def wait_for_last(client: CheckedClient) -> None:
        topics = partitions if client.topics is None else client.topics
        expected_count = sum(partitions[topic] for topic in topics)
        await client.wait_until(lambda: client.last_event_count() >= expected_count, seconds)

    await asyncio.gather(*map(wait_for_last, clients), return_exceptions=True)


def expected_deliveries(produced: Sequence[ProducedEvent]) -> list[ExpectedRange]:
    """All of every partition, since everybody was there before the first event."""
    counts = Counter((event.topic, event.partition) for event in produced)
    ends = {
        partition: max(e.offset for e in produced if (e.topic, e.partition) == partition) + 1
        for partition in counts
    }
    assert counts == ends, "the producer has doubled or lost events, so nothing can be judged"
    return [ExpectedRange(*partition, first=0, end=end) for partition, end in ends.items()]


def make_observations(
    clients: Iterable[CheckedClient], expected: Sequence[ExpectedRange], topics: Iterable[str]
) -> list[Observation]:
    """What the checker has to know of each client."""
    all_topics = frozenset(topics)
    return [
        client.observation(
            [each for each in expected if client.topics is None or each.topic in client.topics],
            all_topics,
        )
        for client in clients
    ]
