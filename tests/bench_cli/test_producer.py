"""The producer writes what a source makes, all of it, and says what is wrong with Kafka."""

from __future__ import annotations

import pytest

from bridge.bench.load.job import Trouble
from bridge.bench.producer import Producer
from bridge.bench.workloads import ForAccounts
from bridge.kafka.client.embedded import EmbeddedBroker


def test_everything_is_written_and_a_topic_that_is_absent_is_named():
    broker = EmbeddedBroker(["demo"])
    settings = {"bootstrap.servers": broker.bootstrap_servers}
    producer = Producer(settings, "demo")
    partitions = producer.partitions()
    source = ForAccounts("r", "a", 5, partitions, 205)
    producer.start(source, 1_000, 20)
    producer.finish()
    assert (partitions, producer.sent, source.due(), producer.runs) == (4, 20, 20, False)
    with pytest.raises(Trouble, match="'absent'"):
        Producer(settings, "absent").partitions()


def test_a_setting_that_librdkafka_does_not_know_is_exit_2():
    with pytest.raises(Trouble) as told:
        Producer({"bootstrap.servers": "h:1", "no.such": "x"}, "demo")
    assert told.value.code == 2
