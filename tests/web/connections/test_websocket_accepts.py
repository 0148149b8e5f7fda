"""A crowd at the door: everybody comes in, and who is inside is not held up meanwhile."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from bridge.web.connections.websocket import PER_TURN, Turnstile
from tests.web.rig import until

if TYPE_CHECKING:
    from collections.abc import Sized

    import pytest

    from tests.web.conftest import OpenRig

CROWD = 3 * PER_TURN + 1


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
    door = Turnstile()
    came: list[int] = []
    at_once: list[bool] = []

    def arrive(number: int) -> None:
        at_once.append(door.come(partial(came.append, number)) and came[-1] == number)
        if number + 1 < CROWD:
            call_soon(arrive, number + 1)  # in the next turn

    arrive(0)
    await until(lambda: len(at_once) == CROWD)
    assert at_once == [True] * CROWD


async def test_of_a_crowd_so_many_come_in_while_the_loop_turns_once():
    door = Turnstile()
    came: list[int] = []
    for number in range(CROWD):
        assert door.come(partial(came.append, number)) is (number < PER_TURN)
    seen = laps(came)
    await until(lambda: seen[-1] == CROWD)
    assert came == [*range(CROWD)]
    assert max(after - before for before, after in pairwise(seen)) <= PER_TURN


async def test_who_comes_in_the_same_turn_as_a_crowd_comes_in_behind_it():
    door = Turnstile()
    came: list[str] = []
    for number in range(CROWD):
        door.come(partial(came.append, f"crowd {number}"))
    assert not door.come(partial(came.append, "last"))
    await until(lambda: len(came) > CROWD)
    assert came[-1] == "last"


async def test_one_that_fails_leaves_the_others_alone():
    loop = asyncio.get_running_loop()
    failures: list[str] = []
    loop.set_exception_handler(lambda _, context: failures.append(str(context["exception"])))
    door = Turnstile()
    came: list[int] = []

    def fail() -> None:
        raise ValueError("at the door")

    for number in range(PER_TURN):
        door.come(partial(came.append, number))
    door.come(fail)
    door.come(partial(came.append, -1))
    await until(lambda: came[-1] == -1)
    assert failures == ["at the door"]


async def test_a_crowd_that_opens_sockets_at_once_comes_in_whole(open_rig: OpenRig):
    rig = await open_rig()
    crowd = [await rig.dial() for _ in range(CROWD)]
    answers = await asyncio.gather(*(raw.upgrade() for raw in crowd))
    assert {answer.status for answer in answers} == {101}
    for raw in crowd:
        assert (await raw.json())["op"] == "welcome"
    assert len(rig.sockets) == CROWD


async def test_who_goes_while_waiting_at_the_door_is_forgotten(
    open_rig: OpenRig, caplog: pytest.LogCaptureFixture
):
    rig = await open_rig()
    crowd = [await rig.dial() for _ in range(CROWD)]
    for raw in crowd:  # all of them in one turn of the event loop
        raw.send(raw.handshake().encode())
        raw.abort()
    last = await rig.dial()
    assert (await last.upgrade()).status == 101
    last.abort()
    await until(lambda: len(rig.sockets) == 0)
    assert rig.entrance.count == 0
    assert [record for record in caplog.records if record.name == "asyncio"] == []
