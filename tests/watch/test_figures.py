"""What is counted while reading is told: outages, gaps, records that can not be used."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from tests.watch.whole import TOPIC
from tests.web.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.watch.whole import Whole


@contextlib.asynccontextmanager
async def reading(whole: Whole) -> AsyncIterator[None]:
    whole.cluster.create(TOPIC)
    feeding = asyncio.create_task(whole.feed.run())
    try:
        async with asyncio.timeout(20):
            await whole.feed.ready.wait()
        yield
    finally:
        feeding.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await feeding


async def tried_again(whole: Whole) -> None:
    before = whole.feed.reconnects
    whole.feed.look()
    await until(lambda: whole.feed.reconnects > before)


async def test_records_are_counted_by_what_they_are(whole: Whole) -> None:
    async with reading(whole):
        whole.cluster.put(TOPIC, 0, [b'{"all":true}', b"no JSON", b'{"data":1}'])
        await until(lambda: whole.hub.tally.read == 3)
        found = await whole.values()
    assert found["push_bridge_records_read_total"] == 3
    assert found["push_bridge_events_routed_total"] == 1
    assert found["push_bridge_records_unaddressed_total"] == 1
    assert found["push_bridge_dead_letters_total{bad_json}"] == 1
    assert found["push_bridge_dead_letters_total{bad_name}"] == 0
    assert found[f"push_bridge_lag{{{TOPIC}}}"] == 0


async def test_an_outage_is_counted_once_and_each_try_to_end_it(whole: Whole) -> None:
    async with reading(whole):
        whole.cluster.down = True
        whole.feed.look()
        await until(lambda: whole.feed.stale() is not None)
        await tried_again(whole)
        await tried_again(whole)
        whole.cluster.down = False
        whole.feed.look()
        await until(lambda: whole.feed.stale() is None)
        found = await whole.values()
    assert found["push_bridge_kafka_outages_total"] == 1
    assert found["push_bridge_kafka_reconnects_total"] >= 3
    assert found["push_bridge_feed_failures_total"] == 0


async def test_a_batch_that_can_not_be_read_is_a_gap(whole: Whole) -> None:
    async with reading(whole):
        whole.cluster.down = True
        whole.feed.look()
        await until(lambda: whole.feed.outages == 1)
        whole.cluster.put(TOPIC, 0, [b'{"all":true}'])
        whole.cluster.spoil(TOPIC, 0, 0)
        whole.cluster.put(TOPIC, 0, [b'{"all":true}'])
        whole.cluster.down = False
        await until(lambda: whole.hub.tally.read == 1)
        found = await whole.values()
    assert found["push_bridge_feed_gaps_total{corrupt}"] == 1
    assert found["push_bridge_feed_gaps_total{expired}"] == 0
