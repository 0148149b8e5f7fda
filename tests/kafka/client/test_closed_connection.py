"""A connection that was closed a moment ago: the commands' own loop has other words for it.

uvloop raises RuntimeError where asyncio's loop would raise nothing, or OSError. It happens once in
hundreds of outages, so here the words are put into the mouth of aiokafka's client.
"""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from bridge.kafka.client.client import LATEST, REQUEST_ERRORS, KafkaClient, TopicPartition
from bridge.kafka.producer import ignore_exception, stop_producer
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PLACE = TopicPartition("orders", 0)
WORDS = (
    "unable to perform operation on <TCPTransport closed=True reading=False 0x557af841f960>; "
    "the handler is closed"
)
ASKING: dict[str, Callable[[KafkaClient], Awaitable[object]]] = {
    "connect": lambda cluster: cluster.connect(),
    "describe": lambda cluster: cluster.describe_topics(["orders"]),
    "topics": lambda cluster: cluster.list_topics(),
    "offsets": lambda cluster: cluster.list_offsets({PLACE: LATEST}, {PLACE: 0}),
    "fetch": lambda cluster: cluster.fetch(0, {PLACE: 0}, {}, max_bytes=1),
    "compacts": lambda cluster: cluster.is_compacted("orders"),
    "commit": lambda cluster: cluster.commit("a-group", {PLACE: 0}),
    "committed": lambda cluster: cluster.committed("a-group"),
}


async def test_letting_go_of_a_connection_that_was_just_closed_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def closed() -> None:
        raise RuntimeError(WORDS)

    cluster = KafkaClient(plaintext_access("localhost:9"))
    monkeypatch.setattr(cluster._client, "close", closed)
    await cluster.close()


async def test_a_producer_whose_connection_was_just_closed_is_put_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def closed() -> None:
        raise RuntimeError(WORDS)

    producer = AIOKafkaProducer(bootstrap_servers="localhost:9")
    monkeypatch.setattr(producer, "flush", closed)
    monkeypatch.setattr(producer.client, "close", closed)
    await stop_producer(producer, 1.0)
    assert producer._closed


@pytest.mark.parametrize("stage", ["flush", "stop"])
async def test_a_producer_whose_stop_is_cancelled_is_closed(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time to end is over while Kafka is away: asyncio would log an unclosed producer."""
    reached = asyncio.Event()

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def flush() -> None:
        pass

    producer = AIOKafkaProducer(bootstrap_servers="localhost:9")
    monkeypatch.setattr(producer, "flush", flush)
    monkeypatch.setattr(producer, stage, hang)
    stopping = asyncio.create_task(stop_producer(producer, 60))
    await reached.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert producer._closed


async def test_what_became_of_one_of_many_records_need_not_be_looked_at(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for watched in True, False:
        future = asyncio.get_running_loop().create_future()
        if watched:
            ignore_exception(future)
        future.set_exception(KafkaError(WORDS))
        await asyncio.sleep(0)
        del future
        gc.collect()
        assert ("never retrieved" in caplog.text) is not watched


class Answered(Exception):
    """The second try got through."""


@pytest.mark.parametrize("error", [KafkaConnectionError("closed"), RuntimeError(WORDS)])
@pytest.mark.parametrize("asking", [a for name, a in ASKING.items() if name != "connect"])
async def test_a_request_whose_connection_closed_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
    asking: Callable[[KafkaClient], Awaitable[object]],
    error: Exception,
) -> None:
    errors = iter([error, Answered()])

    async def closed(*_: object, **__: object) -> None:
        raise next(errors)

    cluster = KafkaClient(plaintext_access("localhost:9"))
    for name in ("send", "coordinator_lookup"):
        monkeypatch.setattr(cluster._client, name, closed)
    monkeypatch.setattr(cluster._client, "get_random_node", lambda: 0)
    with pytest.raises(Answered):
        await asking(cluster)


@pytest.mark.parametrize("error", [NodeNotReadyError(), RequestTimedOutError()])
async def test_a_broker_that_is_away_is_not_tried_once_more(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    tries = []

    async def away(*_: object, **__: object) -> None:
        tries.append(1)
        raise error

    cluster = KafkaClient(plaintext_access("localhost:9"))
    monkeypatch.setattr(cluster._client, "send", away)
    monkeypatch.setattr(cluster._client, "get_random_node", lambda: 0)
    with pytest.raises(type(error)):
        await cluster.describe_topics(["orders"])
    assert len(tries) == 1


@pytest.mark.parametrize("asking", ASKING.values(), ids=ASKING)
async def test_a_connection_that_was_just_closed_is_a_broker_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, asking: Callable[[KafkaClient], Awaitable[object]]
) -> None:
    async def closed(*_: object, **__: object) -> None:
        raise RuntimeError(WORDS)

    cluster = KafkaClient(plaintext_access("localhost:9"))
    for name in ("send", "coordinator_lookup", "bootstrap"):
        monkeypatch.setattr(cluster._client, name, closed)
    monkeypatch.setattr(cluster._client, "get_random_node", lambda: 0)
    with pytest.raises(REQUEST_ERRORS) as raised:
        await asking(cluster)
    assert isinstance(raised.value, KafkaError)
