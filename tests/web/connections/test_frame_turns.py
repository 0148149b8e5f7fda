"""A turn of the event loop: each connection handles a few frames, and those who wait take turns."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from bridge.web.connections.turns import TURN_SECONDS, FrameTurns
from tests.web.in_process_bridge import wait_until


class Clock:
    """A clock that moves when a reader works."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """A connection with so much work, of which each turn does one piece."""

    def __init__(self, clock: Clock, log: list[str], name: str, pieces: int, cost: float) -> None:
        self.clock, self.log, self.name = clock, log, name
        self.pieces, self.cost = pieces, cost
        self.transport: Any = self
        self.is_aborted = False
        self.sparing = True

    def is_sparing(self) -> bool:
        return self.sparing

    def handle_frames(self) -> bool:
        self.log.append(self.name)
        self.clock.now += self.cost
        self.pieces -= 1
        if self.pieces < 0:
            raise ValueError(self.name)
        return self.pieces > 0

    def abort(self) -> None:
        self.is_aborted = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log() -> list[str]:
    return []


def has_waiting(turns: FrameTurns) -> bool:
    return bool(turns._sparing or turns._greedy)


async def laps(turns: FrameTurns) -> None:
    """Run until nobody waits."""
    while has_waiting(turns):  # noqa: ASYNC110 - turns of the event loop are counted
        await asyncio.sleep(0)


async def test_who_has_little_to_say_is_served_at_once(clock, log):
    turns = FrameTurns(clock)
    for number in range(100):
        assert not turns.submit(Reader(clock, log, str(number), 1, 0.0))
    assert len(log) == 100


async def test_who_says_more_than_a_turn_holds_waits_and_the_others_do_not(clock, log):
    turns = FrameTurns(clock)
    assert turns.submit(Reader(clock, log, "greedy", 50, 0.001))
    assert not turns.submit(Reader(clock, log, "honest", 1, 0.0))
    await laps(turns)
    assert log[:2] == ["greedy", "honest"]
    assert log.count("greedy") == 50


async def test_those_who_wait_take_turns(clock, log):
    turns = FrameTurns(clock)
    for name in "abc":
        assert turns.submit(Reader(clock, log, name, 4, TURN_SECONDS / 10))
    await laps(turns)
    assert "".join(log) == "abc" * 4


async def test_a_turn_has_an_end_however_many_wait(clock, log):
    turns = FrameTurns(clock)
    for number in range(40):
        turns.submit(Reader(clock, log, str(number), 5, TURN_SECONDS / 4))
    in_turns = []
    while has_waiting(turns):
        before = clock.now
        await asyncio.sleep(0)
        in_turns.append(clock.now - before)
    assert max(in_turns) <= 1.3 * TURN_SECONDS
    assert len(log) == 200


async def test_who_comes_while_many_wait_is_served_in_the_turn_of_its_bytes(clock, log):
    turns = FrameTurns(clock)
    for number in range(40):
        turns.submit(Reader(clock, log, str(number), 9, TURN_SECONDS / 4))
    await asyncio.sleep(0)
    assert not turns.submit(Reader(clock, log, "honest", 1, 0.0))
    assert log[-1] == "honest"


async def test_who_sends_much_waits_for_the_next_turn_and_behind_who_sends_little(clock, log):
    turns = FrameTurns(clock)
    greedy = [Reader(clock, log, f"greedy {n}", 3, TURN_SECONDS) for n in range(3)]
    for reader in greedy:
        reader.sparing = False
        assert turns.submit(reader)
    assert log == []
    assert not turns.submit(Reader(clock, log, "first", 1, TURN_SECONDS))
    late = Reader(clock, log, "late", 2, 0.0)
    assert turns.submit(late)
    await laps(turns)
    assert log[:3] == ["first", "late", "late"]
    assert log[3:] == ["greedy 0", "greedy 1", "greedy 2"] * 3


async def test_bytes_of_too_many_in_one_turn_wait_for_the_next(clock, log):
    turns = FrameTurns(clock)
    waits = [turns.submit(Reader(clock, log, str(n), 1, TURN_SECONDS)) for n in range(3)]
    assert waits == [False, True, True]
    await laps(turns)
    assert log == ["0", "1", "2"]


async def test_who_waits_is_served_once_however_often_it_is_submitted(clock, log):
    turns = FrameTurns(clock)
    reader = Reader(clock, log, "twice", 2, 0.0)
    assert turns.submit(reader)
    assert turns.submit(reader)
    turns.wait(reader)
    await laps(turns)
    assert log == ["twice"] * 2


async def test_who_is_lost_is_not_served(clock, log):
    turns = FrameTurns(clock)
    reader = Reader(clock, log, "lost", 2, 0.0)
    assert turns.submit(reader)
    turns.discard(reader)
    turns.discard(reader)
    await laps(turns)
    assert log == ["lost"]


async def test_one_that_fails_is_cut_off_alone(clock, log):
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(str(context["exception"]))
    )
    turns = FrameTurns(clock)
    bad = Reader(clock, log, "bad", 0, 0.0)
    turns.wait(bad)
    assert turns.submit(Reader(clock, log, "good", 3, 0.0))
    await wait_until(lambda: log.count("good") == 3)
    assert failures == ["bad"]
    assert cast("Any", bad).is_aborted
