"""One instance that reads the world's topics at its own pace, and the passes that it has open.

What the bank that talks to Kafka does is done here by hand: the feed's part, and a pass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from bridge.core import journal as journal_module
from bridge.core.journal import Journal
from bridge.core.protocol.cursor import Place
from bridge.core.protocol.envelope import Routed
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.retention import Limits
from bridge.core.sessions.hub import Hub
from tests.core.given import scan_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.replay.catchup import Scan
    from bridge.core.sessions.session import Session
    from tests.core.replay_world import Partition, World

#: Of Kafka's bytes, each event is so many.
EVENT_BYTES = 10
LIMITS = Limits(records=60, bytes=300)


class Instance:
    """A hub, and what feeds it."""

    def __init__(
        self, name: str, world: World, topics: Iterable[str], *, budget: int, ceiling: int
    ) -> None:
        self.world = world
        # So little memory that what happened a while ago is not there any more.
        with mock.patch.multiple(journal_module, LEAST_BYTES=0, SEGMENT_BYTES=900):
            journal = Journal(budget)
        self.hub = Hub(
            name,
            dict.fromkeys(topics, False),
            heartbeat=1,
            ceiling=ceiling,
            jitter=lambda seconds: seconds,
            journal=journal,
        )
        self.catch_up = CatchUp(self.hub, LIMITS, ceiling)
        self.scans: list[Scan] = []
        self.look()

    def place(self, topic: str) -> Place:
        """Where it stands."""
        log = self.hub.logs[topic]
        return Place(log.identity, log.next)

    def floor(self, topic: str, partition: int) -> int:
        return self.hub.journal.floor(topic, partition)

    # -- the feed's part ---------------------------------------------------------------------------

    def look(self, topic: str | None = None) -> None:
        """See what there is: all, at the start, from its end on; later what is new of a topic."""
        for name, there in self.world.topics.items():
            if topic in {None, name}:
                same = self.place(name).identity == there.identity
                known = self.place(name).offsets.keys() if same else ()
                begin = "end" if topic is None else "start"
                new = {
                    n: getattr(each, begin)
                    for n, each in there.partitions.items()
                    if n not in known
                }
                if new or not same:
                    self.hub.begin(name, there.identity, new)

    def _first(self, of: Partition, at_the_start: bool) -> int:
        return of.end if at_the_start else of.start

    def knows(self, topic: str, partition: int = 0) -> bool:
        """Whether the topic is still the one that it reads, and it has seen the partition."""
        there = self.world.topics.get(topic)
        place = self.place(topic)
        return there is not None and place.identity == there.identity and partition in place.offsets

    def obstacle(self, topic: str, partition: int, place: int) -> tuple[str, int] | None:
        """Why nothing can be read at `place`, and where it can again."""
        there = self.world.topics[topic].partitions[partition]
        if place < there.start:
            return "expired", there.start
        flaw = there.flaw(place)
        return None if flaw is None else ("corrupt", flaw)

    def read(self, topic: str, partition: int, most: int) -> None:
        """Read at most so many events, or get past what can not be read."""
        place = self.place(topic).offsets[partition]
        if obstacle := self.obstacle(topic, partition, place):
            self.hub.skip(topic, obstacle[0], {partition: obstacle[1]})
            return
        facts, after = self.world.topics[topic].partitions[partition].read(place, most)
        self.hub.publish(Routed(topic, partition, [it.event() for it in facts], after, 0, []))

    # -- a pass's part -----------------------------------------------------------------------------

    def open(self, sessions: Iterable[Session]) -> None:
        """Begin a pass for these sessions."""
        group = list(sessions)
        scan = scan_for(self.catch_up, *group)
        assert all(self.catch_up.fits(scan, session) for session in group)
        self.scans.append(scan)

    def wanted(self, scan: Scan) -> list[tuple[str, int]]:
        """What a pass still has to read."""
        return sorted(key for key, place in scan.next.items() if place < self.floor(*key))

    def pass_on(self, scan: Scan, key: tuple[str, int], most: int, back: int) -> set[Session]:
        """Read on for a pass, beginning at an offset that is `back` before; return the released."""
        topic, partition = key
        place = scan.next[key]
        if not self.knows(*key):
            return set()
        if obstacle := self.obstacle(*key, place):
            reason = None if obstacle[0] == "expired" else obstacle[0]
            return set(self.catch_up.give_up(scan, topic, partition, reason))
        there = self.world.topics[topic].partitions[partition]
        first = max(place - back, there.start)
        if any(there.flaw(offset) for offset in range(first, place)):
            first = place
        facts, after = there.read(first, most)
        scan.bytes[topic] += EVENT_BYTES * len(facts)
        routed = Routed(topic, partition, [it.event() for it in facts], after, 0, [])
        return set(self.catch_up.scan(scan, routed))

    def close(self, scan: Scan) -> None:
        """End a pass, wherever it is."""
        self.scans.remove(scan)
        for key, stretch in scan.stretches.items():
            self.hub.journal.prepend(*key, stretch)
        for session in tuple(scan.interest.everybody):
            self.catch_up.leave(session)
