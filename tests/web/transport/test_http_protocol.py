"""Who has said nothing yet is connected all the same: it ends with the bridge, not after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.web.transport.http_protocol import Reception
from tests.web.raw import Raw
from tests.web.rig import HOST, Rig, until

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig


async def received(rig: Rig) -> None:
    """Wait for a connection of which nothing has come yet."""
    await until(lambda: any(isinstance(c, Reception) for c in rig.server.server_state.connections))


async def test_who_says_nothing_is_let_go_of_where_the_bridge_ends(open_rig: OpenRig):
    rig = await open_rig()
    mute = await rig.dial()
    await received(rig)
    rig.server.should_exit = True
    async with asyncio.timeout(20):
        assert await mute.rest() == b""
        await rig.serving


async def test_who_says_nothing_is_cut_with_all_others(open_rig: OpenRig):
    rig = await open_rig()
    async with Raw(HOST, rig.port) as mute:
        await received(rig)
        await rig.hang_up()
        async with asyncio.timeout(20):
            assert await mute.rest() == b""
