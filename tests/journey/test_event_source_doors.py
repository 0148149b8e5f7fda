"""Where an `EventSource` of a real Chromium is let in, and where it learns not to come back."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol import close_codes
from bridge.web.auth.origins import OriginPolicy
from tests.journey.browser import Browser, running_browser
from tests.journey.event_source_page import CLOSED, OPEN, open_event_source
from tests.web.in_process_bridge import running_bridge, wait_until
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


async def test_who_is_disconnected_for_good_does_not_come_back(browser: Browser):
    async with running_bridge() as rig:
        page = await open_event_source(browser, rig.http, "/events?account=alice")
        await page.wait_for_frames("welcome", 1)
        (session,) = rig.hub.subscriptions.by_account["alice"]
        rig.hub.close(session, close_codes.DISCONNECTED)
        rig.pool.flusher.flush()
        await page.wait_for_condition(f"source.readyState === {CLOSED}")
        (closing,) = await page.frames("closing")
        assert (closing["code"], closing["reconnect"]) == (4504, False)
        assert len(await page.frames("welcome")) == 1
        assert rig.admission.connection_count == 0


async def test_an_expired_token_is_the_end_until_the_page_has_another(browser: Browser):
    ends = int(time.time()) - 3  # the leeway is not over yet
    async with running_bridge(gate=shared_secret_authenticator()) as rig:
        page = await open_event_source(browser, rig.http, f"/events?token={sign_token(exp=ends)}")
        await page.wait_for_frames("welcome", 1)
        (closing,) = await page.wait_for_frames("closing", 1)
        assert (closing["code"], closing["reconnect"]) == (4005, True)
        await page.wait_for_condition(f"source.readyState === {CLOSED}")
        assert rig.counters.closes_by_code == {4005: 1, 4500: 1}, (
            "it came back once, and was nobody"
        )
        assert await page.evaluate("seen.at(-1)[2]") == closing["cursor"]


async def test_a_listed_origin_is_let_in_without_cookies_and_no_other(browser: Browser):
    async with contextlib.AsyncExitStack() as stack:
        shop, other = [await stack.enter_async_context(running_bridge()) for _ in range(2)]
        doors = OriginPolicy(origins=(shop.http,))
        rig = await stack.enter_async_context(running_bridge(doors=doors))
        url = f"{rig.http}/events?account=alice"
        page = await open_event_source(browser, shop.http, url)
        await page.wait_for_frames("welcome", 1)
        rig.publish(accounts=["alice"])
        await page.wait_for_frames("event", 1)
        assert await page.evaluate("source.readyState") == OPEN
        await open_event_source(browser, shop.http, url, with_credentials=True)
        await page.wait_for_condition(f"source.readyState === {CLOSED}")
        assert await page.frames("welcome") == []
        await open_event_source(browser, other.http, url)
        await page.wait_for_condition(f"source.readyState === {CLOSED}")
        assert await page.frames("welcome") == []
        await wait_until(lambda: rig.admission.connection_count == 0)
