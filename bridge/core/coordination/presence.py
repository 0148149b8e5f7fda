"""Who is lost with an instance, and which rooms and topics have got their first or lost their last.

Rules: everybody keeps the census, and whoever is on duty tells of it. The state topic alone says
what was told: until that was read back, it is not told again. A room is told occupied at once and
vacated when it has been empty for a while. An instance is given up when nothing was heard of it
for a while by one who heard of everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bridge.core.coordination.state_records import Alive, Gone, Occupied, Present

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.coordination.state_records import Fact

#: What can be occupied: "room" or "topic", and its name.
Place: TypeAlias = tuple[str, str]


class Roster:
    """Connections by id, account, and room or topic; instances by name."""

    def __init__(self) -> None:
        self.instances: dict[str, Alive] = {}
        self.connections: dict[str, Present] = {}
        self.by_account: dict[str, dict[str, Present]] = {}
        self.by_place: dict[Place, dict[str, Present]] = {}
        self.by_instance: dict[str, dict[str, Present]] = {}

    def hear(self, alive: Alive) -> None:
        """Take note that an instance runs."""
        self.instances[alive.instance] = alive

    def come(self, present: Present) -> list[Place]:
        """Take note of a connection, or of what it follows by now; return the places it changed."""
        before = self._forget(present.id)
        self.connections[present.id] = present
        for index, name in _entries(present):
            getattr(self, index).setdefault(name, {})[present.id] = present
        after = places(present)
        return [*(p for p in before if p not in after), *(p for p in after if p not in before)]

    def go(self, gone: Gone) -> list[Place]:
        """Take note that a connection or an instance is no more; return the places it left."""
        (name,) = gone.names
        if gone.kind == "instance":
            self.instances.pop(name, None)
            return []
        return list(self._forget(name))

    def _forget(self, id: str) -> dict[Place, None]:
        present = self.connections.pop(id, None)
        if present is None:
            return {}
        for index, name in _entries(present):
            held = getattr(self, index)[name]
            held.pop(id, None)
            if not held:
                del getattr(self, index)[name]
        return places(present)


def places(present: Present) -> dict[Place, None]:
    """Return the rooms and topics that a connection is in, each once."""
    return dict.fromkeys(
        [*(("room", room) for room in present.rooms), *(("topic", t) for t in present.topics)]
    )


def _entries(present: Present) -> Iterable[tuple[str, object]]:
    yield "by_instance", present.instance
    if present.account is not None:
        yield "by_account", present.account
    for place in places(present):
        yield "by_place", place


#: Seconds for which a room has to be empty to be told vacated (docs/protocol.md).
EMPTY_SECONDS: Final = 3.0
#: Seconds of silence after which an instance is taken for dead.
SILENT_SECONDS: Final = 10.0
#: What was told and not read back for so long is told again.
ECHO_SECONDS: Final = 60.0
#: So many connections, and so many places, are told at a time: what is told is written at once.
MOST: Final = 1_000


class Findings(NamedTuple):
    """What is to be told now."""

    lost: list[Present]
    dead: list[str]
    occupied: list[Place]
    vacated: list[Place]


class Census:
    """What the state topic says of instances and connections. `now` is on any steady clock."""

    def __init__(self) -> None:
        self.roster = Roster()
        self.told: set[Place] = set()  #: places that the state topic says were told occupied
        self._heard: dict[str, float] = {}
        self._rebooted: set[str] = set()
        self._unlike: dict[Place, float] = {}  # those that are not as was told, and since when
        self._awaited: dict[tuple[str, ...], float] = {}  # what was told and not read back yet
        self._asked = 0.0

    def load(self, fact: Fact | Gone, now: float) -> None:
        """Take a fact from the state topic."""
        match fact:
            case Alive():
                known = self.roster.instances.get(fact.instance)
                if known is None or known.boot != fact.boot:
                    self._rebooted.add(fact.instance)
                self._heard[fact.instance] = now
                self.roster.hear(fact)
            case Present():
                alive = self.roster.instances.get(fact.instance)
                if alive is not None and alive.boot != fact.boot:
                    self._rebooted.add(fact.instance)
                self._heard[fact.instance] = now
                self._look(self.roster.come(fact), now)
            case Occupied(kind, name):
                self.told.add((kind, name))
                self._awaited.pop(("occupied", kind, name), None)
                self._look([(kind, name)], now)
            case Gone("occupied", (kind, name)):
                self.told.discard((kind, name))
                self._awaited.pop(("vacated", kind, name), None)
                self._look([(kind, name)], now)
            case Gone("connection", (id,)):
                self._awaited.pop(("connection", id), None)
                self._look(self.roster.go(fact), now)
            case Gone("instance", (instance,)):
                self._awaited.pop(("instance", instance), None)
                self.roster.go(fact)
                if instance not in self.roster.by_instance:
                    self._heard.pop(instance, None)
                    self._rebooted.discard(instance)
            case _:
                pass

    def resume(self, now: float) -> None:
        """Say that nothing was heard for a while because nobody listened here."""
        self._heard = dict.fromkeys(self._heard, now)
        self._unlike = dict.fromkeys(self._unlike, now)

    def due(self, now: float) -> Findings:
        """Return what is to be told at `now`; call `tell` before that is done."""
        self._asked = now
        lost: list[Present] = []
        dead = [instance for instance in self._heard if self._give_up(instance, now, lost)]
        occupied: list[Place] = []
        vacated: list[Place] = []
        for place, since in self._unlike.items():
            if self._waits("occupied", *place) or self._waits("vacated", *place):
                continue
            if place in self.roster.by_place:
                occupied.append(place)
            elif now - since >= EMPTY_SECONDS:
                vacated.append(place)
        return Findings(lost, dead, occupied[:MOST], vacated[:MOST])

    def tell(self, findings: Findings) -> None:
        """Say that `findings`, the last that were due, are being told: they may be read back."""
        self._awaited |= dict.fromkeys(_what(findings), self._asked)

    def take_back(self, findings: Findings) -> None:
        """Say that `findings` could not be told."""
        for what in _what(findings):
            self._awaited.pop(what, None)

    def _give_up(self, instance: str, now: float, lost: list[Present]) -> bool:
        """Add to `lost` who was connected to `instance` and is not any more.

        Return whether it is dead, and those were all.
        """
        silent = now - self._heard[instance] >= SILENT_SECONDS
        alive = self.roster.instances.get(instance)
        here = self.roster.by_instance.get(instance, {}).values()
        if silent:
            stale = [*here]
        elif alive is not None and instance in self._rebooted:
            stale = [present for present in here if present.boot != alive.boot]
            if not stale:
                self._rebooted.discard(instance)
        else:
            return False
        room = MOST - len(lost)
        untold = [present for present in stale if not self._waits("connection", present.id)]
        lost += untold[:room]
        return silent and len(untold) <= room and not self._waits("instance", instance)

    def _waits(self, *what: str) -> bool:
        """Whether `what` was told a moment ago and not read back yet."""
        told = self._awaited.get(what)
        return told is not None and self._asked - told < ECHO_SECONDS

    def _look(self, places: Iterable[Place], now: float) -> None:
        """Take note of whether these places are as was told."""
        for place in places:
            if (place in self.roster.by_place) == (place in self.told):
                self._unlike.pop(place, None)
            else:
                self._unlike.setdefault(place, now)


def _what(findings: Findings) -> list[tuple[str, ...]]:
    told: list[tuple[str, ...]] = [("connection", present.id) for present in findings.lost]
    told += [("instance", instance) for instance in findings.dead]
    told += [("occupied", *place) for place in findings.occupied]
    told += [("vacated", *place) for place in findings.vacated]
    return told
