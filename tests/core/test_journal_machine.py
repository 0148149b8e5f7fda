"""The journal beside a plain list of all that each partition ever had."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from tests.core.test_journal import EVERYTHING, batch, kept, small
from tests.tiers import example_count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.core.journal import JournalRange

gaps = st.lists(st.integers(0, 2), max_size=4)
where = st.tuples(st.sampled_from(["news", "orders"]), st.sampled_from([0, 1]))


class JournalMachine(RuleBasedStateMachine):
    """A journal, beside a plain list of all that each partition ever had."""

    stretches: Bundle[Any] = Bundle("stretches")

    @initialize(budget=st.sampled_from([3500, 16_000]), segment_bytes=st.sampled_from([600, 900]))
    def open_it(self, budget: int, segment_bytes: int) -> None:
        self.budget = budget
        self.it = small(budget, segment_bytes)
        self.all: dict[tuple[str, int], list[int]] = {}
        self.open: list[JournalRange] = []
        for key in (("news", 0), ("orders", 0), ("orders", 1)):
            self.begin(key, 20)

    def past(self, key: tuple[str, int], start: int, end: int) -> list[int]:
        return [offset for offset in self.all.get(key, []) if start <= offset < end]

    @rule(key=where, offset=st.integers(15, 25))
    def begin(self, key: tuple[str, int], offset: int) -> None:
        self.it.reset_partition(*key, offset)
        self.all[key] = list(range(0, offset, 2))  # what Kafka has from before

    @rule(topic=st.sampled_from(["news", "orders"]))
    def forget(self, topic: str) -> None:
        self.it.remove_topic(topic)
        self.all = {key: offsets for key, offsets in self.all.items() if key[0] != topic}

    @rule(key=where, steps=gaps, hole=st.integers(0, 2))
    def keep(self, key: tuple[str, int], steps: list[int], hole: int) -> None:
        if key in self.all:
            next, events = self.it.partition(*key).next_offset, []
            for step in steps:
                events += batch(next + step)
                next += step + 1
            self.all[key] += [each.offset for each in events]
            self.it.append(*key, events, next + hole)

    @rule(key=where, most=st.integers(1, 5))
    def ask(self, key: tuple[str, int], most: int) -> None:
        if key in self.all:
            for segment in self.it.partition(*key).segments:
                self.it.index_segment(segment, most)
            self.it.evict()

    @rule(target=stretches, key=where, below=st.integers(1, 8))
    def stretch(self, key: tuple[str, int], below: int) -> tuple[tuple[str, int], JournalRange]:
        made = self.it.start_backfill(max(0, self.it.start_offset(*key) - below))
        self.open.append(made)
        return key, made

    @rule(stretch=stretches, count=st.integers(1, 8))
    def extend(self, stretch: tuple[tuple[str, int], JournalRange], count: int) -> None:
        key, it = stretch
        next = max(it.next_offset, min(it.next_offset + count, self.it.start_offset(*key)))
        self.it.extend_backfill(
            it, [batch(each)[0] for each in self.past(key, it.next_offset, next)], next
        )

    @rule(stretch=consumes(stretches))
    def prepend(self, stretch: tuple[tuple[str, int], JournalRange]) -> None:
        self.it.prepend_backfill(*stretch[0], stretch[1])

    def tails(self) -> Iterator[tuple[tuple[str, int], JournalRange]]:
        return ((key, self.it.partition(*key)) for key in self.all)

    @invariant()
    def every_tail_is_complete_from_its_floor_on(self) -> None:
        for key, tail in self.tails():
            assert self.it.start_offset(*key) == tail.start_offset <= tail.next_offset
            assert kept(self.it, tail) == self.past(key, tail.start_offset, EVERYTHING)
        self.it.evict()

    @invariant()
    def the_bytes_are_those_of_what_is_there_and_within_the_budget(self) -> None:
        there = [tail for _, tail in self.tails()]
        there += [each for each in self.open if self.it.has_backfill(each)]
        assert self.it.used_bytes == sum(
            each.size_bytes for tail in there for each in tail.segments
        )
        assert self.it.used_bytes <= self.budget


JournalMachine.TestCase.settings = settings(
    max_examples=example_count(100), stateful_step_count=40, deadline=None
)
TestJournal = JournalMachine.TestCase
