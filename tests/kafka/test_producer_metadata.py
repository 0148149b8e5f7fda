"""How often a producer asks Kafka whether a topic exists."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from aiokafka import errors
from aiokafka.errors import KafkaTimeoutError

from bridge.core.ports import RecordRefused, UnknownTopic
from bridge.core.protocol.cursor import Position
from bridge.kafka import producer as producing
from bridge.kafka.client.client import KafkaAccess
from bridge.kafka.producer import KafkaProducer, KafkaPublisher
from tests.kafka.held_replays import wait_until
from tests.kafka.memory_kafka import MemoryKafkaClient


class Metadata(NamedTuple):
    partition: int
    offset: int


class MemoryProducer:
    """Acknowledges every record, or fails with `error`."""

    def __init__(self) -> None:
        self.sent = 0
        self.error: Exception | None = None

    async def send_and_wait(self, *_: object, **__: object) -> Metadata:
        if self.error is not None:
            raise self.error
        self.sent += 1
        return Metadata(0, self.sent - 1)


@pytest.fixture
async def producer() -> KafkaProducer:
    """A producer of a broker in memory, which has the topics `t` and `u`."""
    made = KafkaProducer(KafkaAccess("127.0.0.1:1", {}))
    await made.stop()
    made._client = client = MemoryKafkaClient()
    made._producer = MemoryProducer()
    client.create("t")
    client.create("u")
    return made


def asked(producer: Any) -> int:
    count: int = producer._client.requests.count("describe")
    return count


async def test_kafka_is_asked_once_for_each_topic_and_not_for_each_record(producer):
    for topic in ("t", "u"):
        positions = [await producer.send(topic, b"1") for _ in range(5)]
        assert [at.topic for at in positions] == [topic] * 5
    assert asked(producer) == 2


async def test_metadata_that_is_old_is_asked_for_again(producer, monkeypatch):
    monkeypatch.setattr(producing, "TOPIC_MAX_AGE_SECONDS", 0.0)
    await producer.send("t", b"1")
    await producer.send("t", b"1")
    assert asked(producer) == 2
    producer._client.delete("t")
    with pytest.raises(UnknownTopic):
        await producer.send("t", b"1")
    assert producer._producer.sent == 2


async def test_an_unknown_topic_is_asked_for_each_time(producer):
    for _ in range(2):
        with pytest.raises(UnknownTopic):
            await producer.send("later", b"1")
    producer._client.create("later")
    assert (await producer.send("later", b"1")).offset == 0
    assert asked(producer) == 3


async def test_a_topic_that_was_deleted_meanwhile_is_unknown(producer):
    await producer.send("t", b"1")
    producer._client.delete("t")
    producer._producer.error = KafkaTimeoutError()
    with pytest.raises(UnknownTopic):
        await producer.send("t", b"1")


async def test_a_failure_is_the_record_s_own_where_the_topic_exists(producer):
    await producer.send("t", b"1")
    producer._producer.error = KafkaTimeoutError()
    with pytest.raises(KafkaTimeoutError):
        await producer.send("t", b"1")
    assert asked(producer) == 2


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(32, "set the clock"), (87, "needs a key"), (44, "policy"), (43, "upgrade"), (29, "Write")],
)
async def test_a_refusal_for_certain_says_what_to_do(producer, code, remedy):
    producer._producer.error = errors.for_code(code)()
    with pytest.raises(RecordRefused, match=remedy):
        await producer.send("t", b"1")


@pytest.mark.parametrize("code", [-1, 7, 19, 20])
async def test_what_may_have_been_written_is_no_refusal(producer, code):
    producer._producer.error = errors.for_code(code)()
    with pytest.raises(errors.KafkaError):
        await producer.send("t", b"1")


async def test_a_producer_that_failed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FailingProducer] = []

    class FailingProducer:
        def __init__(self, _: KafkaAccess) -> None:
            self.failed, self.is_stopped = asyncio.Event(), False
            made.append(self)

        async def start(self) -> None:
            if len(made) == 2:
                raise KafkaTimeoutError

        async def wait_until_failed(self) -> None:
            await self.failed.wait()

        async def stop(self) -> None:
            self.is_stopped = True

        async def send(self, topic: str, *_: object, **__: object) -> Position:
            return Position(topic, 0, len(made))

    monkeypatch.setattr(producing, "KafkaProducer", FailingProducer)
    monkeypatch.setattr(producing, "_RETRY_SECONDS", 0.0)
    publisher = KafkaPublisher(KafkaAccess("127.0.0.1:1", {}), {"orders": "t"})
    running = asyncio.create_task(publisher.run())
    await wait_until(lambda: publisher._producer is not None)
    assert (await publisher.publish("orders", b"", key=None)).offset == 1
    made[0].failed.set()
    await wait_until(lambda: len(made) == 3)
    assert (await publisher.publish("orders", b"", key=None)).offset == 3
    running.cancel()
    await asyncio.wait([running])
    assert [each.is_stopped for each in made] == [True] * 3
