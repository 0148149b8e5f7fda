"""What the journal has of what was missed: a portion at a time, to whom it is for."""

from __future__ import annotations

import gc

import pytest

from bridge.core import journal
from bridge.core.journal import Segment
from bridge.core.replay import catchup
from bridge.core.sessions.session import Need
from tests.core.given import (
    ats,
    broadcasts,
    catch_up,
    event,
    frames,
    hub,
    publish,
    returned,
    standing,
    stands,
    told,
)


@pytest.mark.parametrize(
    ("place", "offsets"), [(10, [10, 12, 14]), (11, [12, 14]), (14, [14]), (15, []), (17, [])]
)
def test_what_comes_begins_at_the_place(place: int, offsets: list[int]) -> None:
    at = hub()
    to = catch_up(at)
    for offset in (10, 12, 14):
        publish(at, *broadcasts(offset))
    publish(at, next=17)
    it = returned(to, standing(place, 20))
    assert to.step(it) is Need.NOTHING
    assert told(it) == [*(f"orders:0:{offset}" for offset in offsets), "live"]


def test_what_is_not_there_any_more_is_not_passed_over() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, *broadcasts(10, 11))
    it = returned(to, standing(9, 20))
    assert to.step(it) is Need.KAFKA
    assert (frames(it), stands(at, it)) == ([], {"orders": {0: 9, 1: 20}})


def test_two_names_that_look_alike_to_the_index_are_two_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "hash", lambda _: 0, raising=False)
    at = hub()
    to = catch_up(at)
    publish(at, event(10, accounts=["bob"]), event(11, accounts=["ann"]), event(12, rooms=["r"]))
    it = returned(to, standing(10, 20))
    to.step(it)
    *missed, live = frames(it)
    assert [each["at"] for each in missed] == ["orders:0:11"]
    assert live["replayed"] == 1


def test_those_that_are_looked_at_in_vain_take_a_turn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catchup, "STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    it = returned(to, standing(10, 20), types=[])
    assert [to.step(it) for _ in range(3)] == [Need.TURN, Need.TURN, Need.NOTHING]
    assert frames(it)[0]["replayed"] == 0


def test_what_nobody_has_asked_for_before_is_made_ready_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "STEP_PACKED", 2)
    at = hub()
    to = catch_up(at)
    for offset in range(10, 15):
        publish(at, event(offset, accounts=["ann" if offset == 14 else "bob"]))
    first, second = returned(to, standing(10, 20)), returned(to, standing(10, 20), "c2")
    assert [to.step(first) for _ in range(2)] == [Need.TURN, Need.TURN]
    assert to.step(second) is Need.NOTHING
    assert to.step(first) is Need.NOTHING
    assert [each["op"] for each in frames(first)] == ["event", "live"]


def test_a_client_that_has_to_read_first_is_sent_no_more_until_it_has() -> None:
    at = hub()
    to = catch_up(at, ceiling=500)
    publish(at, *(event(offset, all=True) for offset in range(10, 14)))
    it = returned(to, standing(10, 20))
    assert to.step(it) is Need.ROOM
    assert to.step(it) is Need.ROOM
    before = ats(it)
    assert 0 < len(before) < 4
    assert stands(at, it)["orders"] == {0: 10 + len(before), 1: 20}
    assert to.step(it) is Need.NOTHING
    *after, live = frames(it)
    assert before + [each["at"] for each in after] == [f"orders:0:{n}" for n in range(10, 14)]
    assert live["replayed"] == 4


def test_what_the_journal_forgets_is_not_kept_in_memory_for_its_frames() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    to.step(returned(to, standing(10, 20)))
    (serial,) = (journal.serial for journal in at.journal.tail("orders", 0).since(0))
    at.journal.begin("orders", 0, 11)
    gc.collect()
    there = [each for each in gc.get_objects() if isinstance(each, Segment)]
    assert serial not in {each.serial for each in there}
