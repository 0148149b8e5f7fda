"""What the journal has of what was missed: a portion at a time, to whom it is for."""

from __future__ import annotations

import gc

import pytest

from bridge.core import journal
from bridge.core.journal import Segment
from bridge.core.replay import catchup
from bridge.core.replay.catchup import NextStep
from tests.core.factories import (
    broadcasts,
    catch_up,
    cursor_at,
    cursor_offsets,
    event,
    hub,
    publish,
    resumed_session,
    take_frames,
    take_positions,
    take_summary,
)


@pytest.mark.parametrize(
    ("place", "offsets"), [(10, [10, 12, 14]), (11, [12, 14]), (14, [14]), (15, []), (17, [])]
)
def test_what_comes_begins_at_the_place(place: int, offsets: list[int]) -> None:
    at = hub()
    to = catch_up(at)
    for offset in (10, 12, 14):
        publish(at, *broadcasts(offset))
    publish(at, next_offset=17)
    it = resumed_session(to, cursor_at(place, 20))
    assert to.advance(it) is NextStep.DONE
    assert take_summary(it) == [*(f"orders:0:{offset}" for offset in offsets), "live"]


def test_what_is_not_there_any_more_is_not_passed_over() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, *broadcasts(10, 11))
    it = resumed_session(to, cursor_at(9, 20))
    assert to.advance(it) is NextStep.READ_KAFKA
    assert (take_frames(it), cursor_offsets(at, it)) == ([], {"orders": {0: 9, 1: 20}})


def test_two_names_that_look_alike_to_the_index_are_two_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "hash", lambda _: 0, raising=False)
    at = hub()
    to = catch_up(at)
    publish(at, event(10, accounts=["bob"]), event(11, accounts=["ann"]), event(12, rooms=["r"]))
    it = resumed_session(to, cursor_at(10, 20))
    to.advance(it)
    *missed, live = take_frames(it)
    assert [each["at"] for each in missed] == ["orders:0:11"]
    assert live["replayed"] == 1


def test_those_that_are_looked_at_in_vain_take_a_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "MAX_STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    it = resumed_session(to, cursor_at(10, 20), types=[])
    assert [to.advance(it) for _ in range(3)] == [
        NextStep.CONTINUE,
        NextStep.CONTINUE,
        NextStep.DONE,
    ]
    assert take_frames(it)[0]["replayed"] == 0


def test_what_nobody_has_asked_for_before_is_made_ready_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "MAX_STEP_INDEX_ENTRIES", 2)
    at = hub()
    to = catch_up(at)
    for offset in range(10, 15):
        publish(at, event(offset, accounts=["ann" if offset == 14 else "bob"]))
    first, second = (
        resumed_session(to, cursor_at(10, 20)),
        resumed_session(to, cursor_at(10, 20), "c2"),
    )
    assert [to.advance(first) for _ in range(2)] == [NextStep.CONTINUE, NextStep.CONTINUE]
    assert to.advance(second) is NextStep.DONE
    assert to.advance(first) is NextStep.DONE
    assert [each["op"] for each in take_frames(first)] == ["event", "live"]


def test_a_client_that_has_to_read_first_is_sent_no_more_until_it_has() -> None:
    at = hub()
    to = catch_up(at, ceiling=500)
    publish(at, *(event(offset, all=True) for offset in range(10, 14)))
    it = resumed_session(to, cursor_at(10, 20))
    assert to.advance(it) is NextStep.WAIT_FOR_CLIENT
    assert to.advance(it) is NextStep.WAIT_FOR_CLIENT
    before = take_positions(it)
    assert 0 < len(before) < 4
    assert cursor_offsets(at, it)["orders"] == {0: 10 + len(before), 1: 20}
    assert to.advance(it) is NextStep.DONE
    *after, live = take_frames(it)
    assert before + [each["at"] for each in after] == [f"orders:0:{n}" for n in range(10, 14)]
    assert live["replayed"] == 4


def test_what_the_journal_forgets_is_not_kept_in_memory_for_its_frames() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    to.advance(resumed_session(to, cursor_at(10, 20)))
    (serial,) = (journal.serial for journal in at.journal.partition("orders", 0).segments_from(0))
    at.journal.reset_partition("orders", 0, 11)
    gc.collect()
    there = [each for each in gc.get_objects() if isinstance(each, Segment)]
    assert serial not in {each.serial for each in there}
