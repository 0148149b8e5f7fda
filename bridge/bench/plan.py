"""What is to be measured, and with how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.load.job import Target


@dataclass(frozen=True)
class Plan:
    """The options of a measurement, all of them decided."""

    scenario: str
    targets: tuple[Target, ...]
    metrics_urls: tuple[str, ...]  #: the URL of each bridge's
    kafka_settings: Mapping[str, Any] = field(repr=False)  #: librdkafka's settings
    topic: str = "bench"  #: its public name
    kafka_topic: str = "bench"
    connections: int = 1_000
    rate: float = 100.0  #: events per second
    seconds: float = 10.0
    record_bytes: int = 205  #: bytes of a record's value
    account_prefix: str = "bench-"
    token: str | None = field(default=None, repr=False)
    processes: int = 1
    source_address_count: int = 1
    missed_records: int = 10_000  #: records that were written while everybody was away
    slow_clients: int = 5  #: clients that stop reading
    warmup_seconds: float = 1.0  #: seconds that are not counted

    def as_json(self) -> dict[str, object]:
        """Return what a reader needs to repeat it; no secret."""
        return {
            "connections": self.connections,
            "rate": self.rate,
            "seconds": self.seconds,
            "bytes": self.record_bytes,
            "processes": self.processes,
            "sources": self.source_address_count,
            "bridges": len(self.targets),
            "topic": self.topic,
        }
