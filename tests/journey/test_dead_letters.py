"""Records that can not be used end as dead letters: each, with its reason, by one instance.

On a real broker with two instances, 1,000 bad records among 100,000 good ones. `-s` shows figures.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.journey.bridge_group import TIMEOUT_SECONDS, BridgeGroup

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.bridge_group import TopicFollower

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
BAD, GOOD = 1_000, 100_000
BATCH = 10_000
SETTLE_SECONDS = 3.0
KINDS = [
    RecordToProduce(b"no JSON", key=b"k", headers=(("trace", b"1"),)),
    RecordToProduce(b'{"accounts": "not a list"}'),
    RecordToProduce(b'{"rooms": ["not, a name"]}'),
    RecordToProduce(b"1", headers=(("push-all", b"perhaps"),)),
    RecordToProduce(b'{"all": true, "time": "yesterday"}'),
]
REASONS = ["bad_json", "bad_envelope", "bad_name", "bad_header", "bad_time"]


def records() -> list[RecordToProduce]:
    """Bad ones among good ones, of which most are for nobody here and some name nobody at all."""
    good = [RecordToProduce(b'{"accounts": ["nobody here"]}'), RecordToProduce(b'{"data": 1}')]
    every = GOOD // BAD
    mixed: list[RecordToProduce] = []
    for n in range(BAD):
        mixed += [good[(n + m) % 50 == 0] for m in range(every)]
        mixed.append(KINDS[n % len(KINDS)])
    return mixed


async def produced(fleet: BridgeGroup) -> None:
    everything = records()
    for start in range(0, len(everything), BATCH):
        await produce(fleet.bootstrap, fleet.topic, everything[start : start + BATCH])


def places(letters: TopicFollower) -> Counter[tuple[str, str]]:
    return Counter(
        (each.headers["dead-partition"], each.headers["dead-offset"]) for each in letters.records
    )


def show(letters: TopicFollower) -> None:
    found = places(letters)
    doubles = sum(found.values()) - len(found)
    print(f"{len(found)} dead letters, {doubles} of them twice")  # noqa: T201 - for `-s`


async def test_each_is_written_once_with_its_reason(kafka: KafkaCluster) -> None:
    settings = {"LIMITS__DEAD_LETTERS_PER_SECOND": "1000"}
    async with (
        BridgeGroup(kafka.bootstrap, ["one", "two"], **settings) as fleet,
        fleet.follow_topic("dead-letters") as letters,
        fleet.client(0, account="ann") as ann,
    ):
        await produced(fleet)
        await fleet.publish(accounts=["ann"], data="still here")
        assert (await ann.next_of("event"))["data"] == "still here"
        await letters.wait_until(lambda: len(letters.records) >= BAD)
        await asyncio.sleep(SETTLE_SECONDS)
        show(letters)
        assert len(letters.records) == len(places(letters)) == BAD
        reasons = Counter(each.headers["dead-reason"] for each in letters.records)
        assert reasons == dict.fromkeys(REASONS, BAD // len(KINDS))
        for each in letters.records:
            kind = KINDS[REASONS.index(each.headers["dead-reason"])]
            assert each.headers["dead-topic"] == fleet.topic
            assert (each.value, each.key) == (kind.value, kind.key and kind.key.decode())
            assert {name: each.headers[name].encode() for name, _ in kind.headers} == dict(
                kind.headers
            )


async def test_none_is_lost_with_the_instance_on_duty(kafka: KafkaCluster) -> None:
    settings = {"LIMITS__DEAD_LETTERS_PER_SECOND": "200"}
    async with BridgeGroup(kafka.bootstrap, ["one", "two"], **settings) as fleet:
        duty = await fleet.wait_for_leader()
        async with fleet.follow_topic("dead-letters") as letters:
            await produced(fleet)
            await letters.wait_until(lambda: len(letters.records) > BAD // 10)
            await fleet.bridges[duty].kill()
            written = len(letters.records)
            await letters.wait_until(lambda: len(places(letters)) >= BAD)
            await asyncio.sleep(SETTLE_SECONDS)
            show(letters)
            assert written < BAD, "it was killed too late"
            assert len(places(letters)) == BAD
            reasons = Counter(each.headers["dead-reason"] for each in letters.records)
            assert set(reasons) == set(REASONS)


async def test_those_of_a_topic_on_demand_are_written_though_only_others_follow_it(
    kafka: KafkaCluster,
) -> None:
    rare = fresh_name("rare")
    await create_topic(kafka.bootstrap, rare)
    more = {"name": rare, "on_demand": True, "linger_seconds": 1}
    async with BridgeGroup(kafka.bootstrap, ["one", "two"], more) as fleet:
        duty = await fleet.wait_for_leader()

        async def state_there() -> str:
            topics = (await fleet.get(duty, "topics"))["items"]
            return str(next(topic["state"] for topic in topics if topic["topic"] == rare))

        async def is_there(state: str) -> None:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while await state_there() != state:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

        await is_there("asleep")
        async with fleet.follow_topic("dead-letters") as letters:
            async with fleet.client(1 - duty, account="ann", topics=rare):
                await is_there("reading")
                await produce(fleet.bootstrap, rare, [RecordToProduce(b"no JSON")])
                await letters.wait_until(lambda: len(letters.records) == 1)
            assert letters.records[0].headers["dead-topic"] == rare
            await is_there("asleep")
