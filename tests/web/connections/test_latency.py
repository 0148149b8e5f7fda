"""Latency is observed once the sockets were given what a batch said to somebody here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.app.pipeline import Pipeline
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
from tests.web.in_process_bridge import ConsumerRecord

if TYPE_CHECKING:
    from tests.web.in_process_bridge import InProcessBridge

NOW = 1_795_000_000.0


def span(of: InProcessBridge) -> Pipeline:
    return Pipeline(
        native_decoder(1 << 20),
        of.hub,
        of.expiry,
        of.flusher,
        lambda _: None,
        wall_clock=lambda: NOW,
    )


def batch(*ages: float, partition: int = 0, first: int = 10, **envelope: Any) -> Batch:
    """Records that are so many seconds old."""
    value = json.dumps(envelope or {"all": True}).encode()
    records = [
        ConsumerRecord(first + n, int((NOW - age) * 1000), None, value, ())
        for n, age in enumerate(ages)
    ]
    return Batch("orders", partition, records, first + len(records))


def observed(of: InProcessBridge) -> tuple[int, float]:
    """How many latencies there are, and all of them together."""
    latency = of.hub.counters.latency_seconds
    return latency.cumulative_counts()[-1], round(latency.sum, 6)


async def test_the_first_and_the_last_record_of_a_batch_are_observed(rig: InProcessBridge) -> None:
    client = await rig.connect_welcomed()
    await span(rig).deliver([batch(8.0, 99.0, 99.0, 2.0), batch(0.5, partition=1, first=20)])
    assert observed(rig) == (3, 10.5)
    for _ in range(5):
        await client.expect("event")


async def test_nothing_is_observed_of_what_nobody_here_was_sent(rig: InProcessBridge) -> None:
    await span(rig).deliver([batch(1.0)])
    await rig.connect_welcomed("account=alice")
    await span(rig).deliver([batch(1.0, first=11, accounts=["bob"]), batch(1.0, first=12, data=1)])
    assert observed(rig) == (0, 0.0)


async def test_a_producer_whose_clock_is_ahead_is_no_time_ago(rig: InProcessBridge) -> None:
    await rig.connect_welcomed()
    await span(rig).deliver([batch(-3.0)])
    assert observed(rig) == (1, 0.0)
