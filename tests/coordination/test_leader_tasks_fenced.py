"""Closing a fenced producer leaves no exception that nobody retrieves."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import ProducerFenced

from bridge.kafka.producer import ignore_exception, stop_producer
from tests.harness.admin import create_topic, fresh_name

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


async def test_a_closed_fenced_producer_leaves_no_unretrieved_exception(
    kafka: KafkaCluster, topic_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    ours = {"bootstrap_servers": kafka.bootstrap, "transactional_id": fresh_name("duties")}
    old, new = AIOKafkaProducer(**ours), AIOKafkaProducer(**ours)
    await old.start()
    await new.start()
    with suppress(ProducerFenced):
        async with old.transaction():
            await ignore_exception(await old.send(topic_name, b"too late"))
    for producer in old, new:
        await stop_producer(producer, 3.0)
    del old, producer
    gc.collect()
    assert "never retrieved" not in caplog.text
