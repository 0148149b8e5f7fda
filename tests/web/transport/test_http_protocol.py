"""Who has said nothing yet is connected all the same: it ends with the bridge, not after it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.web.transport.http_protocol import FirstBytesProtocol
from tests.web.in_process_bridge import HOST, InProcessBridge, wait_until
from tests.web.raw_connection import RawConnection

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge


async def received(rig: InProcessBridge) -> None:
    """Wait for a connection of which nothing has come yet."""
    await wait_until(
        lambda: any(isinstance(c, FirstBytesProtocol) for c in rig.server.server_state.connections)
    )


async def test_who_says_nothing_is_let_go_of_where_the_bridge_ends(open_rig: OpenBridge):
    rig = await open_rig()
    mute = await rig.open_tcp()
    await received(rig)
    rig.server.should_exit = True
    async with asyncio.timeout(20):
        assert await mute.read_to_end() == b""
        await rig.serve_task


async def test_who_says_nothing_is_cut_with_all_others(open_rig: OpenBridge):
    rig = await open_rig()
    async with RawConnection(HOST, rig.port) as mute:
        await received(rig)
        await rig.close_all()
        async with asyncio.timeout(20):
            assert await mute.read_to_end() == b""
