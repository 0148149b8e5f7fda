"""A crowd at the door: everybody comes in, and who is inside is not held up meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from bridge.web.connections.turns import ACCEPTS_PER_TURN, AcceptThrottle
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from collections.abc import Sized

    import pytest

    from tests.web.conftest import OpenBridge

CROWD = 3 * ACCEPTS_PER_TURN + 1


def laps(came: Sized) -> list[int]:
    """Note, in each turn of the event loop, how many have come, until all of a crowd have."""
    call_soon = asyncio.get_running_loop().call_soon
    seen = [len(came)]

    def lap() -> None:
        seen.append(len(came))
        if seen[-1] < CROWD:
            call_soon(lap)

    call_soon(lap)
    return seen


async def test_who_comes_alone_does_not_wait():
    call_soon = asyncio.get_running_loop().call_soon
    door = AcceptThrottle()
    came: list[int] = []
    at_once: list[bool] = []

    def arrive(number: int) -> None:
        at_once.append(door.submit(partial(came.append, number)) and came[-1] == number)
        if number + 1 < CROWD:
            call_soon(arrive, number + 1)  # in the next turn

    arrive(0)
    await wait_until(lambda: len(at_once) == CROWD)
    assert at_once == [True] * CROWD


async def test_of_a_crowd_so_many_come_in_while_the_loop_turns_once():
    door = AcceptThrottle()
    came: list[int] = []
    for number in range(CROWD):
        assert door.submit(partial(came.append, number)) is (number < ACCEPTS_PER_TURN)
    seen = laps(came)
    await wait_until(lambda: seen[-1] == CROWD)
    assert came == [*range(CROWD)]
    assert max(after - before for before, after in pairwise(seen)) <= ACCEPTS_PER_TURN


async def test_who_comes_in_the_same_turn_as_a_crowd_comes_in_behind_it():
    door = AcceptThrottle()
    came: list[str] = []
    for number in range(CROWD):
        door.submit(partial(came.append, f"crowd {number}"))
    assert not door.submit(partial(came.append, "last"))
    await wait_until(lambda: len(came) > CROWD)
    assert came[-1] == "last"


async def test_one_that_fails_leaves_the_others_alone():
    loop = asyncio.get_running_loop()
    failures: list[str] = []
    loop.set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
    door = AcceptThrottle()
    came: list[int] = []

    def fail() -> None:
        raise ValueError("at the door")

    for number in range(ACCEPTS_PER_TURN):
        door.submit(partial(came.append, number))
    door.submit(fail)
    door.submit(partial(came.append, -1))
    await wait_until(lambda: came[-1] == -1)
    assert failures == ["at the door"]


async def test_a_crowd_that_opens_sockets_at_once_comes_in_whole(open_rig: OpenBridge):
    rig = await open_rig()
    crowd = [await rig.open_tcp() for _ in range(CROWD)]
    answers = await asyncio.gather(*(raw.upgrade() for raw in crowd))
    assert {answer.status for answer in answers} == {101}
    for raw in crowd:
        assert (await raw.json())["op"] == "welcome"
    assert len(rig.pool) == CROWD


async def test_who_goes_while_waiting_at_the_door_is_forgotten(
    open_rig: OpenBridge, caplog: pytest.LogCaptureFixture
):
    rig = await open_rig()
    crowd = [await rig.open_tcp() for _ in range(CROWD)]
    for raw in crowd:  # all of them in one turn of the event loop
        raw.send(raw.upgrade_request().encode())
        raw.abort()
    last = await rig.open_tcp()
    assert (await last.upgrade()).status == 101
    last.abort()
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    assert [record for record in caplog.records if record.name == "asyncio"] == []
