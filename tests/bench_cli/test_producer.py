"""The producer writes every record of a workload, and names what is wrong with Kafka."""

from __future__ import annotations

import pytest

from bridge.bench.load.job import BenchError
from bridge.bench.producer import LoadProducer
from bridge.bench.workloads import AccountsWorkload
from bridge.kafka.client.embedded import EmbeddedBroker


def test_producer_writes_all_records_and_names_a_missing_topic():
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


def test_unknown_librdkafka_setting_exits_with_2():
    with pytest.raises(BenchError) as raised:
        LoadProducer({"bootstrap.servers": "h:1", "no.such": "x"}, "demo")
    assert raised.value.exit_code == 2
