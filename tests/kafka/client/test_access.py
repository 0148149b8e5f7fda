"""Kafka behind SCRAM or TLS, reached by the settings that operators have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.app.access import build_kafka_access
from bridge.config.settings import load_settings
from bridge.kafka.client.client import REQUEST_ERRORS, KafkaAccess, KafkaClient
from bridge.kafka.producer import KafkaPublisher
from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.certificates import write_certificates
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.recording_sink import running_consumer
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.kafka

_SCRAM = {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "SASL_MECHANISM": "SCRAM-SHA-256"}


def scram(kafka: KafkaCluster, **more: str) -> dict[str, str]:
    return {
        "BOOTSTRAP_SERVERS": kafka.bootstrap_scram,
        **_SCRAM,
        "SASL_PLAIN_USERNAME": kafka.USER,
        "SASL_PLAIN_PASSWORD": kafka.PASSWORD,
        **more,
    }


def tls(kafka: KafkaCluster, authority: Path) -> dict[str, str]:
    return {
        "BOOTSTRAP_SERVERS": kafka.bootstrap_ssl,
        "SECURITY_PROTOCOL": "SSL",
        "SSL_CAFILE": str(authority),
    }


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Set `BRIDGE_KAFKA__*` and return the access that they make."""
    monkeypatch.chdir(tmp_path)

    def say(settings: dict[str, str]):
        for name, value in settings.items():
            monkeypatch.setenv(f"BRIDGE_KAFKA__{name}", value)
        return build_kafka_access(load_settings().kafka)

    return say


@pytest.mark.parametrize("way", ["scram", "tls"])
async def test_topics_are_read_behind_it(
    kafka: KafkaCluster, topic_name: str, said, way: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    settings = scram(kafka) if way == "scram" else tls(kafka, kafka.ca_file)
    async with running_consumer(said(settings), topic_name) as it:
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"1", partition=0)])
        await it.sink.wait_for_records(1)
    assert it.sink.values() == [b"1"]


@pytest.mark.parametrize("who", ["a wrong password", "nobody's name"])
async def test_who_is_not_let_in_is_told_why(kafka: KafkaCluster, said, who: str) -> None:
    wrong = {"SASL_PLAIN_PASSWORD": "wrong-one"}
    other = {"SASL_PLAIN_USERNAME": "nobody"}
    told = await refusal(said(scram(kafka, **(wrong if who == "a wrong password" else other))))
    assert "authentication failed" in told.lower()
    assert "wrong-one" not in told
    assert kafka.PASSWORD not in told


async def test_an_authority_that_is_not_trusted_is_told(
    kafka: KafkaCluster, said, tmp_path: Path
) -> None:
    stranger, _ = write_certificates(tmp_path)
    assert "CERTIFICATE_VERIFY_FAILED" in await refusal(said(tls(kafka, stranger)))


async def refusal(reach) -> str:
    cluster = KafkaClient(reach)
    try:
        with pytest.raises(REQUEST_ERRORS) as caught:
            await cluster.connect()
    finally:
        await cluster.close()
    told = str(caught.value)
    assert "\n" not in told
    return told


async def test_serve_says_it_in_a_sentence_and_keeps_trying(
    kafka: KafkaCluster, topic_name: str
) -> None:
    settings = scram(kafka, SASL_PLAIN_PASSWORD="wrong-one")
    more = {f"KAFKA__{name}": value for name, value in settings.items()}
    bootstrap = more.pop("KAFKA__BOOTSTRAP_SERVERS")
    async with BridgeProcess("stranger", [topic_name], bootstrap, **more) as bridge:
        line = await bridge.wait_for_log("Kafka does not answer at the start")
        assert "authentication failed" in line.lower()
        await bridge.wait_alive()
        assert await bridge.status("/readyz") == 503
        assert await bridge.terminate() == 0
        assert "Traceback" not in bridge.stderr()
        assert "wrong-one" not in bridge.stderr()


async def test_serve_reads_behind_scram(kafka: KafkaCluster, topic_name: str) -> None:
    more = {f"KAFKA__{name}": value for name, value in scram(kafka).items()}
    bootstrap = more.pop("KAFKA__BOOTSTRAP_SERVERS")
    async with BridgeProcess("known", [topic_name], bootstrap, **more) as bridge:
        await bridge.wait_ready()
        assert await bridge.terminate() == 0


async def test_sessions_that_end_cost_no_publish() -> None:
    """The broker ends SASL sessions after a second (KIP-368), on every connection."""
    properties = {"connections.max.reauth.ms": "1000"}
    with KafkaCluster(properties=properties) as cluster:
        await create_topic(cluster.bootstrap, "orders")
        access = KafkaAccess(
            cluster.bootstrap_scram,
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "SCRAM-SHA-256",
                "sasl_plain_username": cluster.USER,
                "sasl_plain_password": cluster.PASSWORD,
            },
        )
        publisher = KafkaPublisher(access, {"orders": "orders"})
        running = asyncio.create_task(publisher.run())
        await wait_until(lambda: publisher._producer is not None, 60.0)
        for number in range(80):  # some at once, and some behind a pause longer than a session
            await publisher.publish("orders", b"%d" % number, key=None)
            await asyncio.sleep(1.2 if number % 20 == 0 else 0.1)
        running.cancel()
        await asyncio.wait([running])
    assert publisher.outcomes["acknowledged"] == 80
