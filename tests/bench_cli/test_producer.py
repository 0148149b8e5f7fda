"""The producer writes what a source makes, all of it, and says what is wrong with Kafka."""

from __future__ import annotations

import pytest

from bridge.bench.load.job import BenchError
from bridge.bench.producer import LoadProducer
from bridge.bench.workloads import AccountsWorkload
from bridge.kafka.client.embedded import EmbeddedBroker


def test_everything_is_written_and_a_topic_that_is_absent_is_named():
    broker = EmbeddedBroker(["demo"])
    settings = {"bootstrap.servers": broker.bootstrap_servers}
    producer = LoadProducer(settings, "demo")
    partitions = producer.prepare_partitions()
    source = AccountsWorkload("r", "a", 5, partitions, 205)
    producer.start(source, 1_000, 20)
    producer.wait_finished()
    assert (
        partitions,
        producer.sent_records,
        source.expected_deliveries(),
        producer.is_running,
    ) == (4, 20, 20, False)
    with pytest.raises(BenchError, match="'absent'"):
        LoadProducer(settings, "absent").prepare_partitions()


def test_a_setting_that_librdkafka_does_not_know_is_exit_2():
    with pytest.raises(BenchError) as told:
        LoadProducer({"bootstrap.servers": "h:1", "no.such": "x"}, "demo")
    assert told.value.exit_code == 2
