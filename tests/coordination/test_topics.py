"""The bridge's own topics on a real Kafka: created if missing, else unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bridge.coordination import topics as topics_module
from bridge.coordination.topics import BridgeTopics, create_topics
from bridge.kafka.client.client import KafkaClient
from tests.harness.admin import create_topic, fresh_name
from tests.kafka.held_replays import wait_until
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

HOUR_MS = 3_600_000


@pytest.fixture
def own() -> BridgeTopics:
    return BridgeTopics(fresh_name("prefix"))


class OverstatingClient(KafkaClient):
    """A client that reports too many brokers, so that Kafka refuses the replication factor."""

    @property
    def broker_count(self) -> int:
        return 3


@contextlib.asynccontextmanager
async def connected(
    kafka: KafkaCluster, kind: type[KafkaClient] = KafkaClient
) -> AsyncIterator[KafkaClient]:
    cluster = kind(plaintext_access(kafka.bootstrap))
    try:
        await cluster.connect()
        yield cluster
    finally:
        await cluster.close()


def names(own: BridgeTopics) -> list[str]:
    return [own.control, own.state, own.lifecycle, own.dead_letters]


async def configs(kafka: KafkaCluster, topic: str) -> dict[str, str]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    try:
        (answer,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        await client.close()
    return {name: value for *_, entries in answer.resources for name, value, *_ in entries}


async def test_topics_are_created_with_their_configuration_by_two_instances_at_once(
    kafka: KafkaCluster, own: BridgeTopics
) -> None:
    async with connected(kafka) as cluster, connected(kafka) as other:
        access = plaintext_access(kafka.bootstrap)
        await asyncio.gather(create_topics(cluster, access, own), create_topics(other, access, own))
        found = await cluster.describe_topics(names(own))
        assert {name: [*it.leaders] for name, it in found.items()} == {
            name: [0] for name in names(own)
        }
    kept = {name: await configs(kafka, name) for name in names(own)}
    assert [kept[name]["cleanup.policy"] for name in names(own)] == [
        *("delete", "compact", "delete", "delete")
    ]
    hours = {name: int(it["retention.ms"]) / HOUR_MS for name, it in kept.items()}
    assert (hours[own.control], hours[own.lifecycle], hours[own.dead_letters]) == (1, 24, 7 * 24)
    state = kept[own.state]
    assert (state["segment.ms"], state["delete.retention.ms"]) == (
        str(HOUR_MS),
        str(24 * HOUR_MS),
    )


async def test_existing_topics_are_not_changed(kafka: KafkaCluster, own: BridgeTopics) -> None:
    its = {"retention.ms": "123456", "cleanup.policy": "delete"}
    for name in (own.control, own.state):
        await create_topic(kafka.bootstrap, name, 2, configs=its)
    async with connected(kafka) as cluster:
        for _ in range(2):
            await create_topics(cluster, plaintext_access(kafka.bootstrap), own)
        found = await cluster.describe_topics(names(own))
    assert [len(found[name].leaders) for name in names(own)] == [2, 2, 1, 1]
    for name in (own.control, own.state):
        assert its.items() <= (await configs(kafka, name)).items()


async def test_a_failed_creation_is_logged_once_and_retried_until_they_exist(
    kafka: KafkaCluster,
    own: BridgeTopics,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(topics_module, "_RETRY_SECONDS", 0.02)
    caplog.set_level(logging.ERROR, topics_module.__name__)
    async with connected(kafka, OverstatingClient) as cluster:
        asked = 0
        describe = cluster.describe_topics

        async def counted(topics: list[str]) -> object:
            nonlocal asked
            asked += 1
            return await describe(topics)

        monkeypatch.setattr(cluster, "describe_topics", counted)
        creating = asyncio.create_task(
            create_topics(cluster, plaintext_access(kafka.bootstrap), own)
        )
        await wait_until(lambda: asked > 5)
        (line,) = [it.getMessage() for it in caplog.records if it.name == topics_module.__name__]
        assert [name in line for name in names(own)] == [True] * 4
        assert not creating.done()
        for name in names(own):
            await create_topic(kafka.bootstrap, name)
        async with asyncio.timeout(60):
            await creating


async def test_it_can_be_cancelled_while_it_retries(
    kafka: KafkaCluster, own: BridgeTopics, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(kafka, OverstatingClient) as cluster:
        creating = asyncio.create_task(
            create_topics(cluster, plaintext_access(kafka.bootstrap), own)
        )
        await wait_until(lambda: caplog.records)
        creating.cancel()
        with pytest.raises(asyncio.CancelledError):
            await creating
        assert await cluster.describe_topics(names(own)) == {}
