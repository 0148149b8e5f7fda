"""The real Kafka of the tests keeps its word: it dies, comes back, and knows who may enter."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError
from aiokafka.helpers import create_ssl_context

from tests.harness.admin import (
    RecordToProduce,
    add_partitions,
    create_topic,
    delete_records,
    delete_topic,
    fresh_name,
    produce,
)
from tests.harness.certificates import write_certificates
from tests.harness.kafka_cluster import BrokerError, KafkaCluster

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kafka


async def read(bootstrap: str, topic: str, count: int, **security: Any) -> list[bytes | None]:
    """The first values of partition 0."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **security)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


def scram(user: str, password: str) -> dict[str, str]:
    return {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def tls(ca_file: Path) -> dict[str, object]:
    return {
        "security_protocol": "SSL",
        "ssl_context": create_ssl_context(cafile=str(ca_file)),
    }


@pytest.fixture
async def filled(kafka: KafkaCluster, topic_name: str) -> str:
    """A topic with the values `one` and `two`."""
    await create_topic(kafka.bootstrap, topic_name)
    await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"one"), RecordToProduce(b"two")])
    return topic_name


async def test_a_killed_broker_comes_back_with_its_data(topic_name):
    with KafkaCluster() as cluster:
        await create_topic(cluster.bootstrap, topic_name)
        await produce(cluster.bootstrap, topic_name, [RecordToProduce(b"before")])
        address = cluster.bootstrap

        await asyncio.to_thread(cluster.kill, 0)
        with pytest.raises(KafkaConnectionError):
            await produce(cluster.bootstrap, topic_name, [RecordToProduce(b"never")])
        await asyncio.to_thread(cluster.start, 0)
        # The kernel would end a broker with the thread that started it.
        passing = threading.Thread(target=cluster.restart, args=(0,))
        passing.start()
        await asyncio.to_thread(passing.join)

        assert cluster.bootstrap == address
        assert await produce(cluster.bootstrap, topic_name, [RecordToProduce(b"after")]) == [(0, 1)]
        assert await read(cluster.bootstrap, topic_name, 2) == [b"before", b"after"]
    assert not cluster.folder.exists()


async def test_of_three_brokers_one_may_die(topic_name):
    with KafkaCluster(3) as cluster:
        await create_topic(cluster.bootstrap, topic_name, replication_factor=3)
        await produce(cluster.bootstrap, topic_name, [RecordToProduce(b"three")])
        await asyncio.to_thread(cluster.kill, 0)
        await produce(cluster.bootstrap, topic_name, [RecordToProduce(b"two")])
        await asyncio.to_thread(cluster.start, 0)
        await asyncio.to_thread(cluster.wait_in_sync)
        assert await read(cluster.bootstrap, topic_name, 2) == [b"three", b"two"]
        # All three have both records, byte for byte.
        copies = [cluster.segments(topic_name, broker=b)[0].read_bytes() for b in range(3)]
        assert copies[0] == copies[1] == copies[2]


def test_a_broker_that_can_not_start_says_why():
    with (
        pytest.raises(BrokerError, match=r"broker 0 is not ready and has ended(.|\n)*no\.such"),
        KafkaCluster(properties={"authorizer.class.name": "no.such.Authorizer"}),
    ):
        pass


def test_brokers_end_with_the_process_that_started_them(tmp_path):
    program = """if True:
        import time
        from tests.harness.kafka_cluster import KafkaCluster
        with KafkaCluster() as cluster:
            print(cluster.bootstrap, flush=True)
            time.sleep(600)
    """
    command = [sys.executable, "-c", program]
    surroundings = {**os.environ, "TMPDIR": str(tmp_path)}  # its files can only be ours to remove
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=surroundings, text=True) as child:
        assert child.stdout
        host, port = child.stdout.readline().strip().split(":")
        assert listens(host, int(port))
        child.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while listens(host, int(port)):
        assert time.monotonic() < deadline, "the broker outlived its test process"
        time.sleep(0.05)


def listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


async def test_scram_lets_in_who_has_the_password(kafka, filled):
    known = scram(kafka.USER, kafka.PASSWORD)
    assert await read(kafka.bootstrap_scram, filled, 2, **known) == [b"one", b"two"]


@pytest.mark.parametrize("user", [KafkaCluster.USER, "nobody"])
async def test_scram_refuses_who_has_not(kafka, filled, user):
    with pytest.raises(KafkaConnectionError):
        await read(kafka.bootstrap_scram, filled, 1, **scram(user, "wrong"))


async def test_tls_is_trusted_through_the_authority(kafka, filled):
    known = tls(kafka.ca_file)
    assert await read(kafka.bootstrap_ssl, filled, 2, **known) == [b"one", b"two"]


async def test_tls_is_not_trusted_through_another(kafka, filled, tmp_path):
    stranger, _ = write_certificates(tmp_path)
    with pytest.raises(KafkaConnectionError):
        await read(kafka.bootstrap_ssl, filled, 1, **tls(stranger))


async def test_topics_are_made_grown_and_deleted(kafka):
    topic = fresh_name("grown")
    await create_topic(kafka.bootstrap, topic, configs={"retention.ms": "12345"})
    with pytest.raises(TopicAlreadyExistsError):
        await create_topic(kafka.bootstrap, topic)
    await add_partitions(kafka.bootstrap, topic, 3)
    told = await asyncio.to_thread(
        kafka.tool,
        kafka.TOPICS,
        f"--bootstrap-server={kafka.bootstrap}",
        *("--describe", "--topic", topic),
    )
    assert "PartitionCount: 3" in told
    assert "retention.ms=12345" in told
    await delete_topic(kafka.bootstrap, topic)
    await create_topic(kafka.bootstrap, topic)


async def test_records_are_produced_with_all_that_they_have(kafka, topic_name):
    await create_topic(kafka.bootstrap, topic_name, 2)
    said = [
        RecordToProduce(
            b"v", key=b"k", headers=(("h", b"1"),), partition=0, timestamp_ms=1_700_000_000_000
        ),
        RecordToProduce(None, key=b"k", partition=1),
        RecordToProduce(b"w", partition=0),
    ]
    assert await produce(kafka.bootstrap, topic_name, said) == [(0, 0), (1, 0), (0, 1)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic_name, 0)])
        await consumer.seek_to_beginning()
        first = await consumer.getone()
    finally:
        await consumer.stop()
    assert (first.value, first.key, first.headers) == (b"v", b"k", (("h", b"1"),))
    assert first.timestamp == 1_700_000_000_000


async def test_records_are_deleted_from_the_start(kafka, filled):
    assert await delete_records(kafka.bootstrap, filled, 0, before=1) == 1
    assert await read(kafka.bootstrap, filled, 1) == [b"two"]


async def test_a_closed_segment_is_there_to_be_damaged(kafka, topic_name):
    await create_topic(kafka.bootstrap, topic_name, configs={"segment.bytes": str(1024 * 1024)})
    large = [RecordToProduce(os.urandom(400_000)) for _ in range(6)]
    await produce(kafka.bootstrap, topic_name, large)
    closed, *_, last = kafka.segments(topic_name)
    assert closed.stat().st_size > 400_000
    assert closed < last


def test_a_tool_that_fails_says_why(kafka):
    with pytest.raises(BrokerError, match="no-such-option"):
        kafka.tool(kafka.CONSUMER_GROUPS, "--no-such-option")
