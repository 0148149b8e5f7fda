"""Where an `EventSource` of a real Chromium is let in, and where it learns not to come back."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol import close_codes
from bridge.web.auth.origins import Doors
from tests.journey.browser import Browser, browsing
from tests.journey.event_source import CLOSED, OPEN, listening
from tests.web.rig import opened, until
from tests.web.signing import shared_gate, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as started:
        yield started


async def test_who_is_disconnected_for_good_does_not_come_back(browser: Browser):
    async with opened() as rig:
        page = await listening(browser, rig.http, "/events?account=alice")
        await page.until("welcome", 1)
        (session,) = rig.hub.interest.accounts["alice"]
        rig.hub.hang_up(session, close_codes.DISCONNECTED)
        rig.sockets.flush()
        await page.becomes(f"source.readyState === {CLOSED}")
        (closing,) = await page.frames("closing")
        assert (closing["code"], closing["reconnect"]) == (4504, False)
        assert len(await page.frames("welcome")) == 1
        assert rig.entrance.count == 0


async def test_an_expired_token_is_the_end_until_the_page_has_another(browser: Browser):
    ends = int(time.time()) - 3  # the leeway is not over yet
    async with opened(gate=shared_gate()) as rig:
        page = await listening(browser, rig.http, f"/events?token={signed(exp=ends)}")
        await page.until("welcome", 1)
        (closing,) = await page.until("closing", 1)
        assert (closing["code"], closing["reconnect"]) == (4005, True)
        await page.becomes(f"source.readyState === {CLOSED}")
        assert rig.entrance.closes == {4005: 1, 4500: 1}, "it came back once, and was nobody"
        assert await page.look("seen.at(-1)[2]") == closing["cursor"]


async def test_a_listed_origin_is_let_in_without_cookies_and_no_other(browser: Browser):
    async with contextlib.AsyncExitStack() as stack:
        shop, other = [await stack.enter_async_context(opened()) for _ in range(2)]
        doors = Doors(origins=(shop.http,))
        rig = await stack.enter_async_context(opened(doors=doors))
        url = f"{rig.http}/events?account=alice"
        page = await listening(browser, shop.http, url)
        await page.until("welcome", 1)
        rig.publish(accounts=["alice"])
        await page.until("event", 1)
        assert await page.look("source.readyState") == OPEN
        await listening(browser, shop.http, url, with_credentials=True)
        await page.becomes(f"source.readyState === {CLOSED}")
        assert await page.frames("welcome") == []
        await listening(browser, other.http, url)
        await page.becomes(f"source.readyState === {CLOSED}")
        assert await page.frames("welcome") == []
        await until(lambda: rig.entrance.count == 0)
