"""What is counted while reading is told: outages, gaps, records that can not be used."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.watch.metrics_instance import TOPIC
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.watch.metrics_instance import MetricsInstance


@contextlib.asynccontextmanager
async def reading(whole: MetricsInstance) -> AsyncIterator[None]:
    whole.client.create(TOPIC)
    feeding = asyncio.create_task(whole.consumer.run())
    try:
        async with asyncio.timeout(20):
            await whole.consumer.ready.wait()
        yield
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


async def tried_again(whole: MetricsInstance) -> None:
    before = whole.consumer.reconnects
    whole.consumer.request_refresh()
    await wait_until(lambda: whole.consumer.reconnects > before)


async def test_records_are_counted_by_what_they_are(whole: MetricsInstance) -> None:
    async with reading(whole):
        whole.client.append(TOPIC, 0, [b'{"all":true}', b"no JSON", b'{"data":1}'])
        await wait_until(lambda: whole.hub.counters.records_read == 3)
        found = await whole.values()
    assert found["push_bridge_records_read_total"] == 3
    assert found["push_bridge_events_routed_total"] == 1
    assert found[f"push_bridge_records_unaddressed_total{{{TOPIC}}}"] == 1
    assert found["push_bridge_dead_letters_total{bad_json}"] == 1
    assert found["push_bridge_dead_letters_total{bad_name}"] == 0
    assert found[f"push_bridge_lag{{{TOPIC}}}"] == 0


async def test_an_outage_is_counted_once_and_each_try_to_end_it(whole: MetricsInstance) -> None:
    async with reading(whole):
        whole.client.is_down = True
        whole.consumer.request_refresh()
        await wait_until(lambda: whole.consumer.stale_seconds() is not None)
        await tried_again(whole)
        await tried_again(whole)
        whole.client.is_down = False
        whole.consumer.request_refresh()
        await wait_until(lambda: whole.consumer.stale_seconds() is None)
        found = await whole.values()
    assert found["push_bridge_kafka_outages_total"] == 1
    assert found["push_bridge_kafka_reconnects_total"] >= 3
    assert found["push_bridge_feed_failures_total"] == 0


async def test_a_batch_that_can_not_be_read_is_a_gap(whole: MetricsInstance) -> None:
    async with reading(whole):
        whole.client.is_down = True
        whole.consumer.request_refresh()
        await wait_until(lambda: whole.consumer.outages == 1)
        whole.client.append(TOPIC, 0, [b'{"all":true}'])
        whole.client.corrupt(TOPIC, 0, 0)
        whole.client.append(TOPIC, 0, [b'{"all":true}'])
        whole.client.is_down = False
        await wait_until(lambda: whole.hub.counters.records_read == 1)
        found = await whole.values()
    assert found["push_bridge_feed_gaps_total{corrupt}"] == 1
    assert found["push_bridge_feed_gaps_total{expired}"] == 0
