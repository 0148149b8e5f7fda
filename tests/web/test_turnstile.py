"""A crowd at the door: everybody comes in, and who is inside is not held up meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from bridge.web.turnstile import PER_TURN, Turnstile
from tests.web.raw import Raw
from tests.web.rig import until

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig

CROWD = 3 * PER_TURN + 1


async def turn() -> None:
    """Let the event loop come around once."""
    await asyncio.sleep(0)


async def test_who_comes_alone_does_not_wait():
    door = Turnstile()
    came: list[int] = []
    for number in range(CROWD):
        assert door.come(partial(came.append, number))
        assert came[-1] == number
        await turn()
        await turn()


async def test_of_a_crowd_so_many_come_in_while_the_loop_turns_once():
    door = Turnstile()
    came: list[int] = []
    for number in range(CROWD):
        assert door.come(partial(came.append, number)) is (number < PER_TURN)
    most, before = 0, len(came)
    while len(came) < CROWD:
        await turn()
        most, before = max(most, len(came) - before), len(came)
    assert came == [*range(CROWD)]
    assert most <= PER_TURN


async def test_who_comes_in_the_same_turn_as_a_crowd_comes_in_behind_it():
    door = Turnstile()
    came: list[str] = []
    for number in range(CROWD):
        door.come(partial(came.append, f"crowd {number}"))
    assert not door.come(partial(came.append, "last"))
    while len(came) <= CROWD:
        await turn()
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
    while came[-1] != -1:
        await turn()
    assert failures == ["at the door"]


async def test_a_crowd_that_opens_sockets_at_once_comes_in_whole(open_rig: OpenRig):
    rig = await open_rig()
    async with AsyncExitStack() as stack:
        crowd = [await stack.enter_async_context(Raw("127.0.0.1", rig.port)) for _ in range(CROWD)]
        answers = await asyncio.gather(*(raw.upgrade("/ws") for raw in crowd))
        assert {answer.status for answer in answers} == {101}
        for raw in crowd:
            assert (await raw.json())["op"] == "welcome"
        assert len(rig.sockets) == CROWD


async def test_who_goes_while_waiting_at_the_door_is_forgotten(open_rig: OpenRig):
    rig = await open_rig()
    for _ in range(3):
        async with AsyncExitStack() as stack:
            for _ in range(CROWD):
                raw = await stack.enter_async_context(Raw("127.0.0.1", rig.port))
                raw.send(ASKS)
                raw.abort()
    async with Raw("127.0.0.1", rig.port) as last:
        assert (await last.upgrade("/ws")).status == 101
    await until(lambda: len(rig.sockets) == 0)
    assert rig.entrance.count == 0


ASKS = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
