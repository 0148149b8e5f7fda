"""The complete options of one measurement; `cli/bench.py` fills in the defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.load.job import Target


@dataclass(frozen=True)
class Plan:
    """The options of a measurement, without any that are left to default."""

    scenario: str
    targets: tuple[Target, ...]
    metrics_urls: tuple[str, ...]  #: `/metrics` of each bridge
    kafka_settings: Mapping[str, Any] = field(repr=False)  #: librdkafka's settings
    topic: str = "bench"  #: the public name
    kafka_topic: str = "bench"
    connections: int = 1_000  #: `hostile`: 0 is the number of each attack
    rate: float = 100.0  #: records per second
    seconds: float = 10.0
    record_bytes: int = 205  #: of a record's value
    account_prefix: str = "bench-"
    token: str | None = field(default=None, repr=False)
    processes: int = 1
    source_address_count: int = 1
    missed_records: int = 10_000  #: written while all clients are disconnected
    slow_clients: int = 5  #: stop reading
    warmup_seconds: float = 1.0  #: of load before the measurement

    def as_json(self) -> dict[str, object]:
        """Return what a reader needs to repeat the measurement, without secrets."""
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
