"""Clients that come, go, read slowly and come back at random, on a broker that fails at random.

Two things are looked at: between any two steps of the loop each session is looked after in one
place; and in the end everybody has had all that was its own, once and in order.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import pytest

from bridge.core.protocol.cursor import encode_cursor, parse_position
from bridge.kafka.client.client import TopicPartition
from bridge.kafka.replay import scheduler
from tests.kafka.headless_instance import envelope, running_instance
from tests.kafka.held_replays import (
    TIMEOUT_SECONDS,
    HeldReplayClient,
    session_counts,
    session_stages,
)
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.tiers import example_count

if TYPE_CHECKING:
    from tests.kafka.headless_instance import HeadlessInstance

STEPS = 200
TOPICS = {"t": 2, "u": 1}
ACCOUNTS = ("ann", "bob", "eve", None)
NOT_THE_LEADER = 6
NEWER = -1


class Life(NamedTuple):
    """A partition from one creation of its topic to the next."""

    place: TopicPartition
    number: int


class Kafka(HeldReplayClient, MemoryKafkaClient):
    """A fetch of a replay brings some 50 records; `written` has who each of all is for, by life."""

    def __init__(self) -> None:
        super().__init__()
        self.fetch_max_bytes = 1 << 14
        self.lives = dict.fromkeys(TOPICS, 0)
        self.life_by_topic_id: dict[bytes, int] = {}
        self.written: dict[Life, list[str | None]] = defaultdict(list)
        for topic, partitions in TOPICS.items():
            self.create(topic, partitions)
            self._number_life(topic)

    def _number_life(self, topic: str) -> None:
        self.life_by_topic_id[self.ids[topic].bytes[:8]] = self.lives[topic]

    def life(self, place: TopicPartition) -> Life:
        return Life(place, self.lives[place.topic])

    def write(self, chance: Random, count: int) -> None:
        topic = chance.choice(sorted(TOPICS))
        place = TopicPartition(topic, chance.randrange(TOPICS[topic]))
        whom = [chance.choice(ACCOUNTS) for _ in range(count)]
        values = [envelope(self.lives[topic], to=to, size=300) for to in whom]
        self.append(topic, place.number, values)
        self.written[self.life(place)] += whom

    def recreate(self, topic: str) -> None:
        self.delete(topic)
        self.create(topic, TOPICS[topic])
        self.lives[topic] += 1
        self._number_life(topic)


class Person:
    """Somebody with one connection after the other."""

    def __init__(self, it: HeadlessInstance, chance: Random, kafka: Kafka) -> None:
        self.account = chance.choice(["ann", "bob", "eve"])
        self.topics = chance.choice([["t"], ["u"], ["t", "u"]])
        # Where this instance has not heard yet of a new life, the client can not know of it.
        self.start = {
            kafka.life(place): chance.randrange(
                it.hub.topic_positions[place.topic].next_offsets[place.number] + 1
            )
            for place in kafka.logs
            if it.hub.topic_positions[place.topic].topic_id == kafka.ids[place.topic].bytes[:8]
        }
        offsets = [
            {life.place.number: at for life, at in self.start.items() if life.place.topic == topic}
            for topic in TOPICS
        ]
        self._it = it
        # The life that the cursor is of: after it a newer one comes with a gap.
        self._lives = {
            topic: kafka.life_by_topic_id[it.hub.topic_positions[topic].topic_id]
            for topic in TOPICS
        }
        # What came over all connections, in its order.
        self.offsets: dict[Life, list[int]] = {}
        self._frames = 0  # how many of this connection's are in it
        self._cursor = encode_cursor(it.cursor_at(*offsets))
        held = chance.random() < 0.3
        self.client = it.resume(self._cursor, self.account, self.topics, held=held)

    def come_back(self) -> None:
        """Connect again, with what came so far."""
        self._cursor = self.client.cursor() or self._cursor  # it may have read nothing
        self.read_frames()
        self._frames = 0
        self.client = self._it.resume(self._cursor, self.account, self.topics)

    def read_frames(self) -> bool:
        """Add what came to `offsets`; return False if nothing did."""
        frames = self.client.frames()[self._frames :]
        self._frames += len(frames)
        for frame in frames:
            if frame["op"] == "gap":
                self._lives[frame["topic"]] = NEWER
            elif frame["op"] == "event":
                topic, number, offset = parse_position(frame["at"])
                life = int(frame["data"].rstrip("."))
                assert self._lives[topic] in {NEWER, life}, "a new life comes after a gap"
                self._lives[topic] = life
                self.offsets.setdefault(Life(TopicPartition(topic, number), life), []).append(
                    offset
                )
        return bool(frames)

    async def has_all(self, kafka: Kafka) -> bool:
        """Read on; tell whether everything has come."""
        self.client.resume_reading()
        if self.client.frames_of("closing"):
            self.client.disconnect()
            self.come_back()
        if not self.read_frames():
            await asyncio.sleep(0.01)
            return False
        return all(
            self.offsets.get(kafka.life(place), []) == self.due(kafka, kafka.life(place))
            for place in kafka.logs
            if place.topic in self.topics
        )

    def due(self, kafka: Kafka, life: Life) -> list[int]:
        start = self.start.get(life, 0)
        whom = enumerate(kafka.written[life])
        return [n for n, to in whom if n >= start and to in {self.account, None}]


async def look_after(it: HeadlessInstance, people: list[Person]) -> None:
    """Fail as soon as a session is nowhere, or in two places."""
    while True:
        counts = session_counts(it.replayer)
        for person in people:
            session = person.client.session
            if session.replay is not None and counts[session] != 1:
                found = session_stages(it.replayer, session)
                # Those of a pass that has just ended go back to their turns in slices.
                assert not found, found
                assert session.index is not None
        await asyncio.sleep(0)


def trouble(kafka: Kafka, chance: Random) -> None:
    """Something of the broker fails, or all of it works again."""
    kafka.errors.clear()
    kafka.is_down = False
    place = chance.choice(list(kafka.logs))
    match chance.randrange(5):
        case 0:
            kafka.errors[place] = NOT_THE_LEADER
        case 1:
            kafka.is_down = True


async def happen(
    it: HeadlessInstance, kafka: Kafka, people: list[Person], chance: Random, lives: float
) -> None:
    for _ in range(STEPS):
        person = chance.choice(people) if people else None
        match chance.randrange(8):
            case 0 | 1 if len(people) < 25:
                people.append(Person(it, chance, kafka))
            case 2 | 3 if person is not None:
                person.client.resume_reading()
                person.client.is_held = chance.random() < 0.5
            case 4 if person is not None:
                person.client.disconnect()
                person.come_back()
            case 5:
                kafka.write(chance, chance.randrange(1, 200))
            case 6 if chance.random() < 0.2:
                trouble(kafka, chance)
            case 7 if chance.random() < lives:
                kafka.recreate("u")
            case _:
                await asyncio.sleep(chance.random() * 0.01)


@pytest.mark.parametrize("lives", [0, 0.05], ids=["one life", "many lives"])
@pytest.mark.parametrize("seed", range(example_count(3)))
@pytest.mark.parametrize("journal", [0, 1 << 26], ids=["no journal", "a large journal"])
async def test_everybody_is_looked_after_and_has_all_once(
    seed: int, journal: int, lives: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_SMALL_SCAN_RECORDS", 200)
    chance, kafka = Random(seed), Kafka()
    for _ in range(40):
        kafka.write(chance, 100)
    people: list[Person] = []
    async with running_instance(kafka, *TOPICS, journal=journal, ceiling=100_000) as it:
        looking = asyncio.create_task(look_after(it, people))
        await happen(it, kafka, people, chance, lives)
        kafka.errors.clear()
        kafka.is_down = False
        async with asyncio.timeout(TIMEOUT_SECONDS):
            for person in people:
                while not await person.has_all(kafka):
                    assert {*person.client.gaps()} <= {("u", "recreated")}
                    assert not looking.done(), looking.result()
        looking.cancel()
        assert it.source.records_read > 0
        assert it.replayer._deadlines == {}
        for person in people:
            person.read_frames()
            for life, came in person.offsets.items():
                due = person.due(kafka, life)
                assert came == due[: len(came)], "of a former life not all, but nothing is left out"
            person.client.disconnect()
        assert not it.hub.replaying
