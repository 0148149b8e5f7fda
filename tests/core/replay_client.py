"""One client that follows a stream across its connections, and judges every frame it is sent.

It knows all that was ever written (`replay_world`), and where it stands: from one cursor to the
next it must have been sent exactly what is for it between the two, in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import Cursor, Place, read_cursor, read_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.core.sessions.session import Session
    from tests.core.replay_instance import Instance
    from tests.core.replay_world import Fact, World


class Asked:
    """What a client wants."""

    def __init__(
        self,
        account: str | None,
        topics: Iterable[str],
        rooms: Iterable[str],
        types: list[str] | None,
    ) -> None:
        self.account = account
        self.topics = set(topics)
        self.rooms = set(rooms)
        self.types = types

    def why(self, fact: Fact) -> str | None:
        """Why this client gets `fact`; None where it does not."""
        if self.types is not None and fact.type not in self.types:
            return None
        reasons = [
            *("account" for name in fact.accounts if name == self.account),
            *(f"room:{name}" for name in fact.rooms if name in self.rooms),
            *(["all"] if fact.all else []),
        ]
        return reasons[0] if reasons else None


class Client:
    """One connection of it. `begun` is where it may begin later, if it asked for a time."""

    def __init__(
        self, world: World, at: Instance, session: Session, asked: Asked, kind: bytes
    ) -> None:
        self.world = world
        self.at = at
        self.session = session
        self.asked = asked
        self.kind = kind  # of its socket
        self.places: dict[str, Place] = {}
        self.begun: dict[str, dict[int, int]] = {}
        self.leaps: dict[tuple[str, int], int] = {}  # to be made in silence, because of that
        self.frames: list[dict[str, Any]] = []
        self.waited = 0  # frames in its outbox, when it was last looked at
        self.replayed = 0
        self.came: dict[tuple[str, int], list[int]] = {}  # since the last cursor
        self.state = "opening"

    # -- where it stands ---------------------------------------------------------------------------

    def begin(self, cursor: Cursor | None, text: str = "", *, clip: bool = False) -> None:
        """Stand where `cursor` says, or where the instance does."""
        self.text = text
        self.state = "live" if cursor is None else "replaying"
        for topic in self.asked.topics:
            here = self.at.place(topic)
            place = (cursor or {}).get(topic, here)
            self.places[topic] = Place(place.identity or here.identity, dict(place.offsets))
        if clip:
            self.begun = {topic: dict(place.offsets) for topic, place in self.places.items()}

    def place(self, topic: str, partition: int) -> int:
        return self.places[topic].offsets.get(partition, 0)

    def is_other(self, topic: str) -> bool:
        """Whether it stands in another life of the topic than the instance."""
        mine, theirs = self.places[topic].identity, self.at.place(topic).identity
        return bool(mine and theirs) and mine != theirs

    def missing(self) -> dict[tuple[str, int], tuple[int, int]]:
        """What the instance does not have in memory of what is owed."""
        return {
            (topic, partition): (self.place(topic, partition), floor)
            for topic in self.asked.topics
            for partition in self.at.place(topic).offsets
            if self.place(topic, partition) < (floor := self.at.floor(topic, partition))
        }

    def is_ahead(self) -> bool:
        return any(
            offset > self.at.place(topic).offsets.get(partition, 0)
            for topic in self.asked.topics
            for partition, offset in self.places[topic].offsets.items()
        )

    @property
    def is_served(self) -> bool:
        """Whether a pass serves it."""
        return any(self.session in scan.interest.everybody for scan in self.at.scans)

    @property
    def is_unjudged(self) -> bool:
        """Whether it waits for Kafka's verdict."""
        replay = self.session.replay
        waits = replay is not None and not replay.judged and not self.is_served
        return waits and (bool(self.missing()) or self.is_ahead())

    @property
    def needs_kafka(self) -> bool:
        """Whether it waits for a pass."""
        replay = self.session.replay
        waits = replay is not None and replay.judged and not self.is_served
        return waits and bool(self.missing())

    def verdict(self, most: int) -> dict[str, str]:
        """The gaps that Kafka's bounds and a limit in records demand; `leaps` are set too."""
        gaps: dict[str, str] = {}
        amounts: list[tuple[int, str]] = []
        for topic in sorted(self.asked.topics):
            if not self.is_other(topic):
                amount, why = self._verdict(topic)
                if why is None:
                    amounts.append((amount, topic))
                else:
                    gaps[topic] = why
        read = self.session.replay.records if self.session.replay else 0
        for amount, topic in sorted(amounts):
            read += amount
            if amount and read > most:
                gaps[topic] = "limit"
        return gaps

    def _verdict(self, topic: str) -> tuple[int, str | None]:
        """How many records of a topic have to be read, or why they can not be."""
        bounds, begun = self.world.bounds(topic), self.begun.get(topic)
        if any(place > bounds.end.get(n, 0) for n, place in self.places[topic].offsets.items()):
            return 0, "truncated"
        amount, leaps = 0, dict[tuple[str, int], int]()
        for partition in self.at.place(topic).offsets:
            place, floor = self.place(topic, partition), self.at.floor(topic, partition)
            start = bounds.start.get(partition, 0)
            lowest = max(start, bounds.aged.get(partition, 0))
            if place >= floor:
                continue
            if place < lowest:
                if begun is None or place != begun.get(partition, 0):
                    return 0, "expired" if place < start else "limit"
                leaps[topic, partition] = place = lowest
            amount += max(0, floor - place)
        self.leaps.update(leaps)
        for (_, partition), place in leaps.items():
            self.begun[topic][partition] = place
        return amount, None

    def bookmark(self, count: int) -> str | None:
        """How it would resume if it had received so many frames; None before any cursor."""
        text, positions = None, dict[str, str]()
        for frame in self.frames[:count]:
            if frame["op"] == "event":
                positions[frame["at"].rpartition(":")[0]] = frame["at"]
            elif frame.get("cursor") is not None:
                text, positions = frame["cursor"], {}
        return text and ",".join([text, *positions.values()])

    # -- what it is sent ---------------------------------------------------------------------------

    def see(self, frame: dict[str, Any], gaps: dict[str, str]) -> None:
        """Judge one frame; `gaps` has those that have to come, and loses the one that did."""
        assert self.state != "closed", "after its end"
        self.frames.append(frame)
        match frame["op"]:
            case "event":
                self._see_event(frame)
                return
            case "welcome":
                assert frame["cursor"] == self.text or not self.text
                told = read_cursor(frame["cursor"])
                if not self.text:
                    self.reveal(told)
                return
            case "gap":
                assert gaps.pop(frame["topic"], None) == frame["reason"]
                self._see_gap(frame["topic"], frame["reason"])
            case "live":
                assert (self.state, frame["replayed"]) == ("replaying", self.replayed)
                self.state = "live"
        self.reveal(read_cursor(frame["cursor"]))
        if frame["op"] == "closing":
            self.state = "closed"

    def _see_event(self, frame: dict[str, Any]) -> None:
        topic, partition, offset = read_position(frame["at"])
        life = self.places[topic].identity
        (fact,) = self.world.facts(topic, life, partition, offset, offset + 1)
        assert (fact.number, self.asked.why(fact)) == (frame["data"], frame["to"])
        came = self.came.setdefault((topic, partition), [])
        assert offset > (came[-1] if came else self.place(topic, partition) - 1), "twice or late"
        came.append(offset)
        self.replayed += 1

    def _see_gap(self, topic: str, reason: str) -> None:
        for partition in [number for name, number in self.came if name == topic]:
            came = self.came.pop((topic, partition))
            assert came == self._owed(topic, partition, came[-1] + 1)
        self.leaps = {key: to for key, to in self.leaps.items() if key[0] != topic}
        here = self.at.place(topic)
        anew = reason == "recreated" and self.state == "replaying"
        self.places[topic] = Place(here.identity, {} if anew else dict(here.offsets))
        self.begun.pop(topic, None)
        if anew:
            self.begun[topic] = {}

    def _owed(self, topic: str, partition: int, end: int) -> list[int]:
        place = self.places[topic]
        start = place.offsets.get(partition, 0)
        facts = self.world.facts(topic, place.identity, partition, start, end)
        return [fact.offset for fact in facts if self.asked.why(fact) is not None]

    def is_up_to_now(self) -> bool:
        """Whether nothing is owed that the instance has read."""
        return not any(
            self.place(topic, partition) < offset
            for topic in self.asked.topics
            for partition, offset in self.at.place(topic).offsets.items()
        )

    def reveal(self, told: Mapping[str, Place]) -> None:
        """Judge a cursor: it has to cover exactly what came."""
        assert told.keys() == self.asked.topics
        for topic, (identity, offsets) in told.items():
            assert identity == self.places[topic].identity
            for partition in {*offsets, *self.places[topic].offsets}:
                offset = offsets.get(partition, 0)
                assert offset >= self.place(topic, partition), "falls back"
                came = self.came.pop((topic, partition), [])
                if self.leaps.get((topic, partition)) == offset:
                    del self.leaps[topic, partition]
                    assert came == []
                else:
                    assert came == self._owed(topic, partition, offset)
            self.places[topic] = Place(identity, dict(offsets))
        assert self.came == {}
