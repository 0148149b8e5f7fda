"""Clients that come, go, read slowly and come back at random, on a broker that fails at random.

Two things are looked at: between any two steps of the loop each session is looked after in one
place; and in the end everybody has had all that was its own, once and in order.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

import pytest

from bridge.core.position import read_position, write_cursor
from bridge.kafka import sharing
from bridge.kafka.cluster import Partition
from tests.kafka.memory import MemoryCluster
from tests.kafka.returning import places, running
from tests.kafka.written import PATIENCE, Paced, envelope

if TYPE_CHECKING:
    from tests.kafka.returning import Client, Instance

STEPS = 300
TOPICS = {"t": 2, "u": 1}
ACCOUNTS = ("ann", "bob", "eve", None)
NOT_THE_LEADER = 6


class Kafka(Paced, MemoryCluster):
    """A fetch of a replay brings some 50 records; `written` has who each of all is for."""

    def __init__(self) -> None:
        super().__init__()
        self.most_bytes = 1 << 14
        self.written: dict[Partition, list[str | None]] = defaultdict(list)
        for topic, partitions in TOPICS.items():
            self.create(topic, partitions)

    def write(self, chance: Random, count: int) -> None:
        topic = chance.choice(sorted(TOPICS))
        place = Partition(topic, chance.randrange(TOPICS[topic]))
        whom = [chance.choice(ACCOUNTS) for _ in range(count)]
        values = [envelope(n, to=to, size=300) for n, to in enumerate(whom)]
        self.put(topic, place.number, values)
        self.written[place] += whom


class Person:
    """Somebody with one connection after the other."""

    def __init__(self, it: Instance, chance: Random, kafka: Kafka) -> None:
        self.account = chance.choice(["ann", "bob", "eve"])
        self.topics = chance.choice([["t"], ["u"], ["t", "u"]])
        self.start = {
            place: chance.randrange(len(whom) + 1) for place, whom in kafka.written.items()
        }
        self._it = it
        self._before: list[Client] = []
        self._frames = 0  # how many there were when it was last looked what came
        offsets = [{p: self.start[Partition(t, p)] for p in range(TOPICS[t])} for t in TOPICS]
        self._cursor = write_cursor(it.at(*offsets))
        held = chance.random() < 0.3
        self.client = it.resume(self._cursor, self.account, self.topics, held=held)

    def come_back(self) -> None:
        """Connect again, with what came so far."""
        self._cursor = self.client.cursor() or self._cursor  # it may have read nothing
        self._before.append(self.client)
        self._frames = 0
        self.client = self._it.resume(self._cursor, self.account, self.topics)

    def offsets(self) -> dict[Partition, list[int]]:
        """What came over all connections, in its order."""
        came: dict[Partition, list[int]] = {}
        for client in [*self._before, self.client]:
            for frame in client.said("event"):
                topic, number, offset = read_position(frame["at"])
                came.setdefault(Partition(topic, number), []).append(offset)
        return came

    async def has_all(self, kafka: Kafka) -> bool:
        """Read on; tell whether everything has come."""
        self.client.read_on()
        if self.client.said("closing"):
            self.client.vanish()
            self.come_back()
        frames = len(self.client.frames())
        if frames == self._frames:
            await asyncio.sleep(0.01)
            return False
        self._frames = frames
        return self.offsets() == self.due(kafka)

    def due(self, kafka: Kafka) -> dict[Partition, list[int]]:
        owed = {
            place: [n for n, to in enumerate(whom) if n >= start and to in {self.account, None}]
            for place, whom in kafka.written.items()
            if place.topic in self.topics
            for start in [self.start[place]]
        }
        return {place: offsets for place, offsets in owed.items() if offsets}


async def look_after(it: Instance, people: list[Person]) -> None:
    """Fail as soon as a session is nowhere, or in two places."""
    while True:
        for person in people:
            session = person.client.session
            if session.replay is not None:
                found = places(it.replayer, session)
                # Those of a pass that has just ended go back to their turns in slices.
                assert len(found) == 1 or (not found and session.home is not None), found
        await asyncio.sleep(0)


def trouble(kafka: Kafka, chance: Random) -> None:
    """Something of the broker fails, or all of it works again."""
    kafka.errors.clear()
    kafka.down = False
    place = chance.choice(list(kafka.logs))
    match chance.randrange(5):
        case 0:
            kafka.errors[place] = NOT_THE_LEADER
        case 1:
            kafka.down = True


async def happen(it: Instance, kafka: Kafka, people: list[Person], chance: Random) -> None:
    for _ in range(STEPS):
        person = chance.choice(people) if people else None
        match chance.randrange(8):
            case 0 | 1 if len(people) < 25:
                people.append(Person(it, chance, kafka))
            case 2 | 3 if person is not None:
                person.client.read_on()
                person.client.held = chance.random() < 0.5
            case 4 if person is not None:
                person.client.vanish()
                person.come_back()
            case 5:
                kafka.write(chance, chance.randrange(1, 200))
            case 6 if chance.random() < 0.2:
                trouble(kafka, chance)
            case _:
                await asyncio.sleep(chance.random() * 0.01)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("journal", [0, 1 << 26], ids=["no journal", "a large journal"])
async def test_everybody_is_looked_after_and_has_all_once(
    seed: int, journal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_FEW_RECORDS", 200)
    chance, kafka = Random(seed), Kafka()
    for _ in range(40):
        kafka.write(chance, 100)
    people: list[Person] = []
    async with running(kafka, *TOPICS, journal=journal, ceiling=100_000) as it:
        looking = asyncio.create_task(look_after(it, people))
        await happen(it, kafka, people, chance)
        kafka.errors.clear()
        kafka.down = False
        async with asyncio.timeout(PATIENCE):
            for person in people:
                while not await person.has_all(kafka):
                    assert person.client.gaps() == []
                    assert not looking.done(), looking.result()
        looking.cancel()
        assert it.source.records > 0
        assert it.replayer._deadlines == {}
        for person in people:
            person.client.vanish()
        assert not it.hub.replaying
