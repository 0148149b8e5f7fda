"""Consumer groups on a real broker: none is left of instances that came and went."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import create_topic, fresh_name
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

INSTANCES = int(os.environ.get("GROUP_INSTANCES", "4"))
SETTINGS = {
    "KAFKA__PREFIX": "mine",
    "KAFKA__SWEEP_SECONDS": "2",
    "INSTANCE_TIMEOUT_SECONDS": "10",
    "DRAIN_SECONDS": "0",
}
SETTLE_SECONDS = 60
#: The leader's election, and what it has written.
GROUPS_THAT_STAY = {"mine.duties", "mine.dead-letters"}


@pytest.fixture
def own_kafka() -> Iterator[KafkaCluster]:
    """A broker without the groups of other tests."""
    with KafkaCluster() as cluster:
        yield cluster


def groups(cluster: KafkaCluster) -> set[str]:
    printed = cluster.tool(
        cluster.CONSUMER_GROUPS, "--bootstrap-server", cluster.bootstrap, "--list"
    )
    return {line.strip() for line in printed.splitlines() if line.strip()}


async def test_no_group_is_left_of_instances_that_came_and_went(own_kafka: KafkaCluster) -> None:
    """Half of them end by a signal, and half are killed. A group of others stays."""
    topic, bootstrap = fresh_name(), own_kafka.bootstrap
    await create_topic(bootstrap, topic)
    async with BridgeProcess("stays", [topic], bootstrap, **SETTINGS) as leader:
        await leader.wait_ready()
        for number in range(INSTANCES):
            async with BridgeProcess(f"gone-{number}", [topic], bootstrap, **SETTINGS) as bridge:
                await bridge.wait_ready()
                await asyncio.sleep(1.5)  # it commits each second
                if number % 2:
                    assert await bridge.terminate() == 0
        left = {f"mine.gone-{number}" for number in range(0, INSTANCES, 2)} | {"mine.stays"}
        seen = await asyncio.to_thread(groups, own_kafka)
        assert seen - GROUPS_THAT_STAY <= left
        async with asyncio.timeout(SETTLE_SECONDS):
            while seen - GROUPS_THAT_STAY != {"mine.stays"}:
                await asyncio.sleep(1)
                seen = await asyncio.to_thread(groups, own_kafka)
        assert await leader.terminate() == 0
    assert await asyncio.to_thread(groups, own_kafka) <= GROUPS_THAT_STAY


async def test_without_commits_there_is_no_group(own_kafka: KafkaCluster) -> None:
    topic, bootstrap = fresh_name(), own_kafka.bootstrap
    await create_topic(bootstrap, topic)
    settings = {**SETTINGS, "KAFKA__COMMIT": "false"}
    async with BridgeProcess("silent", [topic], bootstrap, **settings) as bridge:
        await bridge.wait_ready()
        await asyncio.sleep(2)
        assert await asyncio.to_thread(groups, own_kafka) <= GROUPS_THAT_STAY
        assert await bridge.terminate() == 0
