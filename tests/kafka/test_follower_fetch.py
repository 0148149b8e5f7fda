"""Follower fetch (KIP-392): no answer of a follower is final, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.kafka.client.client import (
    BrokerConnection,
    FetchedPartition,
    FetchErrorCode,
    TopicDescription,
)
from bridge.kafka.client.client import TopicPartition as Place
from bridge.kafka.replay.scan import NodeChoice
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.held_replays import wait_until
from tests.kafka.memory_kafka import MemoryKafkaClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.kafka.headless_instance import HeadlessInstance

LEADER, FOLLOWER = 0, 1
PLACE = Place("t", 0)
_NO_ANSWER = -2


class RackedKafka(MemoryKafkaClient):
    """A leader, and a follower in our rack. Both have what was written.

    `follower_error` is what the follower answers: an error code, or `_NO_ANSWER`.
    """

    rack = "east"

    def __init__(self) -> None:
        super().__init__()
        self.follower_error = 0
        self.failing_connections = set(BrokerConnection)
        self.in_sync = [LEADER, FOLLOWER]
        self.fetched: list[tuple[BrokerConnection, int, bool]] = []

    def nodes(self, connection: BrokerConnection = BrokerConnection.CONSUMER) -> list[int]:
        """The nodes that were asked since the last call."""
        nodes = [node for lane, node, _ in self.fetched if lane is connection]
        self.fetched = [each for each in self.fetched if each[0] is not connection]
        return nodes

    async def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        described = await super().describe_topics(topics)
        return {
            topic: each._replace(in_sync_replicas=dict.fromkeys(each.leaders, tuple(self.in_sync)))
            for topic, each in described.items()
        }

    async def fetch(
        self,
        node: int,
        offsets: Mapping[Place, int],
        *arguments: Any,
        connection: BrokerConnection = BrokerConnection.CONSUMER,
        rack: str = "",
        **options: Any,
    ) -> list[FetchedPartition]:
        self.fetched.append((connection, node, bool(rack)))
        if node == LEADER and rack and FOLLOWER in self.in_sync:
            await asyncio.sleep(0)
            return [FetchedPartition(p, at, 0, 0, [], b"", FOLLOWER) for p, at in offsets.items()]
        if node == FOLLOWER and self.follower_error and connection in self.failing_connections:
            await asyncio.sleep(0)
            if self.follower_error == _NO_ANSWER:
                raise TimeoutError
            return [
                FetchedPartition(p, at, self.follower_error, -1, [], b"")
                for p, at in offsets.items()
            ]
        return await super().fetch(0, offsets, *arguments, connection=connection, **options)


def racked_kafka(records: int = 0) -> RackedKafka:
    kafka = RackedKafka()
    kafka.create("t")
    if records:
        kafka.append("t", 0, envelopes(records))
    return kafka


async def next_offset(it: HeadlessInstance, offset: int) -> None:
    """Wait until live reading has all below `offset`."""
    await wait_until(lambda: it.hub.topic_positions["t"].next_offsets.get(0) == offset)


async def test_records_are_read_from_the_replica_in_the_own_rack() -> None:
    kafka = racked_kafka()
    async with running_instance(kafka, "t") as it:
        await wait_until(lambda: FOLLOWER in kafka.nodes())
        client = it.connect_new()
        kafka.append("t", 0, envelopes(5))
        await next_offset(it, 5)
        kafka.append("t", 0, envelopes(5))
        await next_offset(it, 10)
        assert LEADER not in kafka.nodes()
        assert client.offsets().get(0, []) == list(range(10))


async def test_without_a_rack_leaders_are_read() -> None:
    kafka = racked_kafka()
    kafka.rack = ""
    async with running_instance(kafka, "t") as it:
        kafka.append("t", 0, envelopes(5))
        await next_offset(it, 5)
        assert FOLLOWER not in kafka.nodes()


@pytest.mark.parametrize(
    "error",
    [
        FetchErrorCode.OFFSET_OUT_OF_RANGE,
        FetchErrorCode.CORRUPT,
        6,  # NOT_LEADER_OR_FOLLOWER
        9,  # REPLICA_NOT_AVAILABLE
        78,  # OFFSET_NOT_AVAILABLE
        _NO_ANSWER,
    ],
)
async def test_after_an_error_of_a_follower_the_leader_is_asked(error: int) -> None:
    """Also after an out-of-range answer: it becomes no gap before the leader was asked."""
    kafka = racked_kafka()
    async with running_instance(kafka, "t") as it:
        await wait_until(lambda: FOLLOWER in kafka.nodes())
        client = it.connect_new()
        kafka.follower_error = error
        await wait_until(lambda: LEADER in kafka.nodes())
        kafka.append("t", 0, envelopes(5))
        await next_offset(it, 5)
        assert client.offsets().get(0, []) == list(range(5))
        assert not client.gaps()
        kafka.nodes()
        kafka.append("t", 0, envelopes(1))
        await next_offset(it, 6)
        assert FOLLOWER not in kafka.nodes(), "the leader would name the same follower again"


async def test_a_follower_that_is_not_in_sync_is_left() -> None:
    kafka = racked_kafka()
    async with running_instance(kafka, "t") as it:
        await wait_until(lambda: FOLLOWER in kafka.nodes())
        kafka.in_sync = [LEADER]
        it.feed.request_refresh()
        await wait_until(lambda: LEADER in kafka.nodes())
        kafka.append("t", 0, envelopes(1))
        await next_offset(it, 1)
        kafka.in_sync = [LEADER, FOLLOWER]
        await wait_until(lambda: FOLLOWER in kafka.nodes())


@pytest.mark.parametrize("error", [0, FetchErrorCode.OFFSET_OUT_OF_RANGE, _NO_ANSWER])
async def test_a_replay_reads_where_the_consumer_reads_and_then_from_the_leader(
    error: int,
) -> None:
    kafka = racked_kafka(300)
    async with running_instance(kafka, "t") as it:
        await wait_until(lambda: FOLLOWER in kafka.nodes())
        live = it.connect_new()
        kafka.append("t", 0, envelopes(1))
        await next_offset(it, 301)
        kafka.follower_error, kafka.failing_connections = error, {BrokerConnection.REPLAY}
        client = await it.connect_since(0)
        await wait_until(lambda: len(client.offsets().get(0, [])) == 301)
        assert client.offsets().get(0, []) == list(range(301))
        assert not client.gaps()
        asked = kafka.nodes(BrokerConnection.REPLAY)
        assert asked[0] == FOLLOWER
        assert (LEADER in asked) == bool(error)
        assert live.offsets().get(0, []) == [300]


class Nodes:
    """A partition that is read from a follower."""

    def leader_of(self, _partition: Place) -> int:
        return LEADER

    def node_of(self, _partition: Place) -> int:
        return FOLLOWER


def test_a_reader_leaves_a_follower_once() -> None:
    nodes = NodeChoice(Nodes())
    assert nodes.node_of(PLACE) == FOLLOWER
    assert nodes.leave_follower(PLACE)
    assert nodes.node_of(PLACE) == LEADER
    assert not nodes.leave_follower(PLACE), "what the leader answers is final"
