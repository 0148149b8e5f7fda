"""What a session that comes back is in the middle of.

Rule: a session's places and those of the pass that serves it are both "the next offset", so what
it has been handed is everything below the higher of the two, at any moment.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Need(Enum):
    """What a session that is caught up waits for."""

    NOTHING = auto()  #: it is live, or gone
    TURN = auto()  #: there is more in the journal, when others have had their turn
    ROOM = auto()  #: its client has to read first
    KAFKA = auto()  #: the journal does not reach down to it, or only Kafka can judge its cursor


class Reach:
    """How far a pass over Kafka's records has come: from `start` to `next`, an offset for each.

    Both are by public topic and partition. `bytes` were read so far, by topic.
    """

    __slots__ = ("bytes", "next", "start")

    def __init__(self, start: dict[tuple[str, int], int]) -> None:
        self.start = start
        self.next = dict(start)
        self.bytes: Counter[str] = Counter()

    def leave_out(self, topic: str, ends: Mapping[int, int] | None = None) -> None:
        """Read no more of `topic`, or of those of its partitions that have come beyond `ends`."""
        for key, next in tuple(self.next.items()):
            if key[0] == topic and (ends is None or next > ends.get(key[1], next)):
                del self.next[key]


class Replay:
    """How far a session has been caught up, beside its `floors`, which are its places.

    `identities` says of each topic which life of it the places are in. `clipped` has the places,
    by topic, that may be moved up to where the log starts without a word, as long as nothing was
    sent from there. `judged` says that Kafka's bounds and the limits allow its places. `reach` is
    that of the pass that serves it, if one does. `records` and `bytes` were read for it from Kafka.
    `unnamed` are its topics that the client's own cursor does not name, until another one did.
    """

    __slots__ = (
        "_before",
        "bytes",
        "clipped",
        "identities",
        "judged",
        "reach",
        "records",
        "replayed",
        "unnamed",
    )

    def __init__(self, identities: dict[str, bytes], clipped: dict[str, dict[int, int]]) -> None:
        self.identities = identities
        self.clipped = clipped
        self.judged = False
        self.replayed = 0  #: events
        self.unnamed: frozenset[str] = frozenset()
        self.reach: Reach | None = None
        self.records = 0
        self.bytes = 0
        self._before: dict[str, int] = {}  # bytes that the pass had read when it was entered

    def cost(self, topics: Iterable[str]) -> int:
        """The bytes that were read for it, those of the pass that serves it now too."""
        if self.reach is None:
            return self.bytes
        now, before = self.reach.bytes, self._before
        return self.bytes + sum(now[topic] - before.get(topic, 0) for topic in topics)

    def enter(self, reach: Reach) -> None:
        """Be served by a pass from now on."""
        self.reach, self._before = reach, dict(reach.bytes)

    def leave(self, topics: Iterable[str]) -> None:
        """Be served by no pass any more."""
        self.bytes = self.cost(topics)
        self.reach = None
