"""Instances that die, start anew, pause and return, and the one on duty: all on a clock of its own.

The rule kept here: they share nothing but the state topic, each reads it a while after it was
written, and none knows more of another than what stands in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import state_records
from bridge.core.coordination.presence import Census
from bridge.core.coordination.state_records import Alive, Fact, Gone, Occupied, Present
from tests.core.facts import SINCE

if TYPE_CHECKING:
    from bridge.core.coordination.presence import Place

TICK = 0.1
BEAT_SECONDS = 2.0
#: One that has not read itself for so long says nothing of others' until it surely has read
#: whatever was said of it meanwhile.
STALE_SECONDS, QUIET_SECONDS = 5.0, 2.5


class Entry(NamedTuple):
    """A record of the state topic."""

    time: float
    fact: Fact | Gone


class Topics:
    """The state topic, and what backends are told, by whom it is about."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lag = 0.0
        self.state: list[Entry] = []
        self.told: dict[str | Place, list[str]] = {}

    def say(self, fact: Fact | Gone) -> None:
        self.state.append(Entry(self.now, fact))

    def tell(self, about: str | Place, what: str) -> None:
        self.told.setdefault(about, []).append(what)

    def since(self, place: int) -> list[Entry]:
        """What can be read by now of what stands behind `place`."""
        found = []
        for entry in self.state[place:]:
            if entry.time > self.now - self.lag:
                break
            found.append(entry)
        return found


class Instance:
    """Says who is connected to it, as far as others may rely on it."""

    def __init__(self, name: str, boot: str, topics: Topics) -> None:
        self.name = name
        self.boot = boot
        self.clients: dict[str, tuple[str, ...]] = {}  #: the rooms of each
        self.paused = False
        self._topics = topics
        self._said: dict[str, Present] = {}
        self._place = len(topics.state)
        self._beat = self._quiet_until = topics.now
        self._echo = topics.now

    def tick(self) -> None:
        if self.paused:
            return
        now = self._topics.now
        if now - self._echo > STALE_SECONDS:
            self._quiet_until = now + QUIET_SECONDS
        for entry in self._topics.since(self._place):
            self._place += 1
            self._hear(entry)
        if now >= self._beat:
            self._say_alive()
        if now >= self._quiet_until:
            self._tell_changes()

    def _say_alive(self) -> None:
        self._beat = self._topics.now + BEAT_SECONDS
        self._topics.say(Alive(self.name, self.boot, SINCE, SINCE))

    def _hear(self, entry: Entry) -> None:
        match entry.fact:
            case Alive(instance=self.name, boot=self.boot):
                self._echo = entry.time
            case Gone("instance", (self.name,)):
                self._say_alive()
            case Gone("connection", (id,)):
                self._said.pop(id, None)
            case _:
                pass

    def _tell_changes(self) -> None:
        for id in self._said.keys() - self.clients.keys():
            self._topics.say(Gone("connection", (id,)))
            self._topics.tell(id, "disconnected")
            del self._said[id]
        for id, rooms in self.clients.items():
            present = Present(id, self.name, self.boot, None, "", SINCE, [*rooms])
            if self._said.get(id) != present:
                self._topics.say(present)
                if id not in self._said:
                    self._topics.tell(id, "connected")
                self._said[id] = present


class Steward:
    """Tells what the census finds due."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._place = 0
        self.census = Census()

    def take_over(self) -> None:
        """Begin, once everything is read that the one before has written."""
        for entry in self._topics.state[self._place :]:
            self.census.load(entry.fact, self._topics.now)
        self._place = len(self._topics.state)
        self.census.resume(self._topics.now)

    def read(self) -> None:
        for entry in self._topics.since(self._place):
            self._place += 1
            self.census.load(entry.fact, self._topics.now)

    def work(self) -> None:
        findings = self.census.due(self._topics.now)
        self.census.tell(findings)
        for present in findings.lost:
            self._topics.tell(present.id, "disconnected")
            self._topics.say(Gone("connection", (present.id,)))
        for instance in findings.dead:
            self._topics.say(Gone("instance", (instance,)))
        for place in findings.occupied:
            self._topics.tell(place, "occupied")
            self._topics.say(Occupied(*place))
        for place in findings.vacated:
            self._topics.tell(place, "vacated")
            self._topics.say(Gone("occupied", place))


def compacted(topics: Topics) -> list[Entry]:
    """The state topic with the last record of each key alone."""
    last: dict[bytes, Entry] = {}
    for entry in topics.state:
        if isinstance(entry.fact, Gone):
            last.pop(",".join([entry.fact.kind, *entry.fact.names]).encode(), None)
        else:
            last.pop(state_records.key(entry.fact), None)
            last[state_records.key(entry.fact)] = entry
    return [*last.values()]
