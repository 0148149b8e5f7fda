"""Bridges for the tests of the downstream bank, each on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import uvloop

from tests.web.in_process_bridge import running_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.web.in_process_bridge import InProcessBridge


#: Tests of the transport, which differs between the event loops.
BOTH_LOOPS = {"test_slow", "test_drain", "test_silent", "test_bad_frames", "test_sse_slow"}


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the loop of the commands, and where that matters on asyncio's own too."""
    if item.path.stem in BOTH_LOOPS:
        return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


class OpenBridge(Protocol):
    """Opens a bridge with the options of `rig.opened`."""

    async def __call__(self, **options: Any) -> InProcessBridge: ...


@pytest.fixture
async def rig() -> AsyncIterator[InProcessBridge]:
    """A bridge with generous limits and no heartbeat during a test."""
    async with running_bridge() as rig:
        yield rig


@pytest.fixture
async def open_rig() -> AsyncIterator[OpenBridge]:
    """A bridge with limits of the test's own."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**options: Any) -> InProcessBridge:
            return await stack.enter_async_context(running_bridge(**options))

        yield open_one
