"""A page with an `EventSource` that is left to itself, and what a test asks of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.harness.frame_schemas import read_frame
from tests.journey.browser import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from tests.journey.browser import Browser

CONNECTING, OPEN, CLOSED = 0, 1, 2
#: A page of the bridge's own origin, without a policy of its own.
_PAGE = "/healthz"
_LISTEN = """
    window.seen = []; window.doors = [];
    window.source = new EventSource(arguments[0], { withCredentials: arguments[1] });
    for (const op of ['welcome', 'event', 'gap', 'live', 'heartbeat', 'closing'])
        source.addEventListener(op, (it) => seen.push([it.type, it.data, it.lastEventId]));
    source.onopen = () => doors.push('open');
    source.onerror = () => doors.push(source.readyState);
"""


class EventSourcePage(NamedTuple):
    """A page that listens, and what it has been given. Nothing here drops a frame."""

    browser: Browser

    async def evaluate(self, script: str) -> Any:
        return await asyncio.to_thread(self.browser.run_script, f"return {script}")

    async def frames(self, op: str) -> list[dict[str, Any]]:
        texts = await self.evaluate(
            f"seen.filter((each) => each[0] == '{op}').map((each) => each[1])"
        )
        return [read_frame(text) for text in texts]

    async def wait_for_condition(self, condition: str) -> None:
        """Wait for `condition`, in JavaScript, to be true."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not await self.evaluate(condition):  # noqa: ASYNC110 - pages do not call
                    await asyncio.sleep(0.05)
        except TimeoutError:
            seen = await self.evaluate("[doors, seen.slice(-5)]")
            raise AssertionError(f"waited in vain for {condition}: {seen}") from None

    async def wait_for_frames(self, op: str, count: int) -> list[dict[str, Any]]:
        """Wait for so many frames of `op` since the beginning."""
        await self.wait_for_condition(f"seen.filter((each) => each[0] == '{op}').length >= {count}")
        return await self.frames(op)


async def open_event_source(
    browser: Browser, origin: str, url: str, *, with_credentials: bool = False
) -> EventSourcePage:
    """Go to a page of `origin`, and let it listen to `url`."""

    def open_source() -> None:
        browser.visit(origin + _PAGE)
        browser.run_script(_LISTEN, url, with_credentials)

    await asyncio.to_thread(open_source)
    return EventSourcePage(browser)
