"""What was produced while everybody was away, and whom each of it is owed.

The rule kept here: what is owed is known by position, and nothing of the bridge was asked for it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer

from tests.harness.admin import fresh_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PARTITIONS, CLIENTS_PER_ROOM, BROADCAST_COUNT = 4, 10, 10
TIMEOUT_SECONDS = 300.0


class MissedEvents:
    """`records` events for mixed audiences: a client is owed some of them by each of its names."""

    def __init__(self, clients: int, records: int) -> None:
        self.topics = (fresh_name("storm"), fresh_name("storm"))
        self._clients = clients
        self._records = records
        self._rng = Random(records)
        self._by_audience: dict[str, list[str]] = defaultdict(list)

    def expected_positions(self, client: int) -> set[str]:
        """The positions of what this client is owed."""
        audiences = ("all", f"account-{client}", self.room_of(client))
        return {at for audience in audiences for at in self._by_audience[audience]}

    def room_of(self, client: int) -> str:
        """The room in which this client is."""
        return f"room-{client // CLIENTS_PER_ROOM}"

    def produce(self, bootstrap: str) -> None:
        """Blocks until all of it is acknowledged."""
        producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "linger.ms": 20,
                "log_level": 0,
                "queue.buffering.max.messages": self._records + 1,
            }
        )
        failed: list[object] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failed.append(error)

        every = max(1, self._records // BROADCAST_COUNT)
        for number in range(self._records):
            audience, envelope = self._audience(number, every)
            topic = self.topics[number % 2]
            offset, partition = divmod(number // 2, PARTITIONS)
            self._by_audience[audience].append(f"{topic}:{partition}:{offset}")
            value = json.dumps({"type": "order.shipped", "data": self._data(number), **envelope})
            producer.produce(topic, value.encode(), partition=partition, on_delivery=delivered)
            producer.poll(0)
        assert producer.flush(TIMEOUT_SECONDS) == 0, "not everything was acknowledged"
        assert not failed, failed[0]

    def _audience(self, number: int, every: int) -> tuple[str, dict[str, object]]:
        if number % every == every // 2:
            return "all", {"all": True}
        client = self._rng.randrange(self._clients)
        match self._rng.randrange(100):
            case n if n < 70:
                return f"account-{client}", {"accounts": [f"account-{client}"]}
            case n if n < 80:
                return self.room_of(client), {"rooms": [self.room_of(client)]}
            case _:
                return "nobody", {"accounts": ["nobody-who-is-here"]}

    def _data(self, number: int) -> dict[str, object]:
        return {"order": number, "lines": [{"item": "0" * 20, "count": 3}] * 3, "note": "x" * 40}


def check_received(
    number: int, frames: Iterable[Mapping[str, Any]], expected: set[str]
) -> Iterator[str]:
    """What is wrong with what this client got, over all its connections."""
    received: set[str] = set()
    last_offsets: dict[str, int] = {}
    replayed, live_counts_match = 0, []
    for frame in frames:
        match frame["op"]:
            case "event":
                replayed += 1
                received.add(frame["at"])
                partition, _, offset = frame["at"].rpartition(":")
                if int(offset) <= last_offsets.get(partition, -1):
                    last_offset = last_offsets[partition]
                    yield f"client {number} got {frame['at']} after offset {last_offset}"
                last_offsets[partition] = int(offset)
            case "welcome":
                replayed = 0
            case "live":
                live_counts_match.append(frame["replayed"] == replayed)
            case "gap":
                yield f"client {number} was told {frame}"
    if live_counts_match != [True]:
        yield f"client {number} did not become live exactly once: {live_counts_match}"
    if missing := expected - received:
        yield f"client {number} did not get {len(missing)} events: {sorted(missing)[:3]}"
    if unexpected := received - expected:
        yield f"client {number} got {len(unexpected)} events of others: {sorted(unexpected)[:3]}"
