"""What the checker is told, and what it answers: plain values, in the contract's words.

The rule kept here: a test writes down what it did and what it saw. Nothing here judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["missing", "twice", "out_of_order", "stray", "wrong_to", "wrong_content"]


class PartitionLog(NamedTuple):
    """A partition from its creation to its deletion: within it, offsets tell the order."""

    topic: str
    partition: int
    generation: int


@dataclass(frozen=True)
class ProducedEvent:
    """An event as it was produced.

    `rooms` are in the record's order. `content` has what the frame must show beside `topic`, `id`
    and `type`, such as `data`. A topic that was deleted and created again has a second
    `generation` of events, from offset 0; their ids must differ from those of the first.
    """

    topic: str
    partition: int
    offset: int
    id: str
    type: str = "event"
    connections: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    all: bool = False
    content: Mapping[str, object] = field(default_factory=dict)
    generation: int = 0

    @property
    def position(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"

    @property
    def log(self) -> PartitionLog:
        return PartitionLog(self.topic, self.partition, self.generation)


@dataclass(frozen=True)
class ExpectedRange:
    """What a client is owed of one partition: from `first` on, up to but not including `end`.

    Where it began amid production, events from `earliest` on may come too. Later ones than `end`
    may come as well. A `gap` excuses what is missing at the place where it came; but nothing from
    offset `after_gap` on: say there what was produced after the client had its last gap.
    """

    topic: str
    partition: int
    first: int
    end: int
    earliest: int | None = None
    after_gap: int | None = None
    generation: int = 0

    @property
    def log(self) -> PartitionLog:
        return PartitionLog(self.topic, self.partition, self.generation)

    def may_have(self, offset: int) -> bool:
        return offset >= (self.first if self.earliest is None else self.earliest)

    def must_have(self, offset: int) -> bool:
        return self.first <= offset < self.end

    def may_be_in_gap(self, offset: int) -> bool:
        return self.after_gap is None or offset < self.after_gap


@dataclass(frozen=True)
class Observation:
    """What one client asked for and was sent.

    `frames` has those of all its connections in order, each beginning with its `welcome`, which
    tells the connection's id. A partition that `owed` does not name must bring nothing. A client
    that resumed by the cursor alone, without positions, is sent some events again by right.
    """

    client: str
    account: str | None
    topics: frozenset[str]
    owed: Sequence[ExpectedRange]
    frames: Sequence[Mapping[str, Any]]
    rooms: frozenset[str] = frozenset()
    types: tuple[str, ...] | None = None
    resumed_with_positions: bool = True


@dataclass(frozen=True)
class Violation:
    """One breach of the contract, with a sentence for whoever reads the failed test."""

    kind: Kind
    client: str
    position: str
    sentence: str
