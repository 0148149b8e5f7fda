"""The view for operators: tokens, a bridge that comes back, the keyboard, and its looks."""

from __future__ import annotations

import itertools
import json
import signal
from typing import TYPE_CHECKING, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command_process import CommandProcess
from tests.cli.conftest import DevServer, running_dev
from tests.harness.ports import free_ports
from tests.journey.background_clients import BackgroundClients
from tests.journey.browser import Browser, running_browser
from tests.journey.operations_view import (
    open_dialog,
    open_view,
    wait_for_command,
    wait_for_connections,
)
from tests.web.publish_api import TOKEN
from tests.web.token_signing import SECRET, sign_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WIDTHS: Final = (390, 800, 1280)
LONG: Final = "a" * 200


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bridges run."""
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def dev(place: Path) -> Iterator[DevServer]:
    with CommandProcess(place, "dev", TOPICS='["orders"]', PORT="0") as command:
        yield running_dev(command)


def test_a_serve_asks_for_the_token_says_that_one_is_wrong_and_takes_it_for_both_views(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    port, admin_port = free_ports(2)
    settings = {
        "PORT": str(port),
        "ADMIN_PORT": str(admin_port),
        "TOPICS": '["orders"]',
        "AUTH__SECRET": SECRET,
        "ADMIN_TOKENS": json.dumps([TOKEN]),
        "KAFKA__BOOTSTRAP_SERVERS": dev.kafka,
        "INSTANCE": "serve-1",
    }
    with CommandProcess(place, "serve", **settings) as command:
        command.wait_for_line("ready")
        browser.visit("about:blank")
        browser.visit(f"http://127.0.0.1:{admin_port}/#ops")
        browser.wait_for_text("#ops-state", "Admin token required")
        focus = "return document.activeElement.id"
        for wrong in ("nonsense", "ключ"):
            browser.wait_until(lambda: browser.run_script(focus) == "ops-token", "the focus")
            browser.send_keys(wrong + Keys.ENTER)
            assert "BRIDGE_ADMIN_TOKENS" in browser.wait_for_text("#ops-why", "401")
            browser.wait_until(
                lambda: browser.find("#ops-sign-in").is_displayed(), "to be asked again"
            )
            assert not browser.find("#ops-desk").is_displayed()
        browser.wait_until(lambda: browser.run_script(focus) == "ops-token", "the focus")
        browser.send_keys(TOKEN + Keys.ENTER)
        browser.wait_for_text("#ops-state", "Updated")
        browser.wait_until(lambda: len(browser.texts("#instances tbody tr")) == 2, "both instances")
        assert "this one" in browser.wait_for_text("#instances tbody tr", "serve-1")
        assert len([each for each in browser.texts("#instances .badge") if each]) == 1
        # Those who sign in to send need not type it again.
        browser.find("#view-client").click()
        browser.fill_field("Token", sign_token())
        browser.click_button("Connect", "#sign-in")
        browser.wait_for_text("#state", "Connected")
        browser.click_button("Send", "#send")
        browser.wait_for_text("#sent", "Written at ")
        browser.find("#view-ops").click()
        (row,) = wait_for_connections(browser, 1)
        assert "serve-1" in row


def test_a_bridge_that_is_started_again_is_come_back_to(browser: Browser, place: Path) -> None:
    (port,) = free_ports(1)
    settings = {"PORT": str(port), "TOPICS": '["orders"]', "INSTANCE": "here"}
    with CommandProcess(place, "dev", "--demo", **settings) as command:
        dev = running_dev(command)
        with BackgroundClients(dev.url) as guests:
            guest = guests.connect_one(account="alice")
            open_view(browser, dev.url)
            wait_for_connections(browser, 1)
            command.send_signal(signal.SIGKILL)
            command.wait_exit()
            assert guest.wait_closed()[0] == 1006
        browser.wait_for_text("#ops-state", "No response")
        assert "retries" in browser.wait_for_text("#ops-error", "does not answer")
        # It says so all the time, whichever question was the last one.
        for _ in range(25):
            assert browser.texts("#ops-state") == ["No response"]
            browser.run_script("return new Promise((done) => setTimeout(done, 200))")
        # What was shown is there still.
        wait_for_connections(browser, 1)
    # It comes back with another token, and counters that begin anew.
    with CommandProcess(place, "dev", "--demo", **settings) as command:
        dev = running_dev(command)
        browser.wait_for_text("#ops-state", "Updated")
        assert browser.texts("#ops-error") == [""]
        wait_for_connections(browser, 0)
        with BackgroundClients(dev.url) as guests:
            guest = guests.connect_one(account="bob")
            wait_for_connections(browser, 1)
            drawn = "return document.querySelector('[data-rate=\"Records read\"] path').outerHTML"
            browser.wait_until(lambda: browser.run_script(drawn).count("L") > 1, "a line")
            assert "-" not in browser.run_script(drawn.replace("outerHTML", "getAttribute('d')"))
            open_dialog(browser, "kick", guest.id)
            browser.send_keys(Keys.ENTER)
            assert guest.wait_closed()[0] == 4504
            wait_for_command(browser, guest.id)
        command.send_signal(signal.SIGTERM)
        browser.wait_for_text("#ops-state", "No response")


def test_nothing_is_asked_while_nobody_looks_and_never_two_at_a_time(
    browser: Browser, dev: DevServer
) -> None:
    open_view(browser, dev.url)
    count = """return performance.getEntriesByType("resource")
        .filter((each) => each.name.includes("/v1/")).map((each) => [each.name, each.startTime])"""
    browser.run_script("performance.clearResourceTimings()")
    browser.wait_until(lambda: len(browser.run_script(count)) >= 8, "two rounds")
    lists: dict[str, list[float]] = {}
    for url, start in browser.run_script(count):
        lists.setdefault(url, []).append(start)
    assert len(lists) == 4
    for starts in lists.values():
        assert all(b - a > 1_900 for a, b in itertools.pairwise(starts))
    hide = """Object.defineProperty(document, "visibilityState",
        { configurable: true, value: arguments[0] });
        document.dispatchEvent(new Event("visibilitychange"));"""
    wait = "return new Promise((done) => setTimeout(done, 3000))"
    for away, back in (
        (lambda: browser.run_script(hide, "hidden"), lambda: browser.run_script(hide, "visible")),
        (lambda: browser.find("#view-client").click(), lambda: browser.find("#view-ops").click()),
    ):
        away()
        browser.run_script("return new Promise((done) => setTimeout(done, 500))")
        browser.run_script("performance.clearResourceTimings()")
        browser.run_script(wait)
        assert browser.run_script(count) == []
        back()
        browser.wait_until(lambda: len(browser.run_script(count)) >= 4, "it to ask again")


def test_it_fits_narrow_and_wide_light_and_dark(browser: Browser, dev: DevServer) -> None:
    with BackgroundClients(dev.url) as guests:
        many = ",".join(f"{n}{'r' * 60}" for n in range(20))
        guest = guests.connect_one(account=LONG, rooms=f"{many},{'x' * 200}")
        open_view(browser, dev.url)
        wait_for_connections(browser, 1)
        browser.find("#room-list .open").click()
        open_dialog(browser, "move", guest.id)
        grounds = set()
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                browser.emulate_screen(scheme, width)
                over = browser.run_script(
                    """return [document.documentElement, ...document.querySelectorAll(
                        "main, .card, .list, .panel, dialog[open]")]
                        .filter((each) => each.scrollWidth > each.clientWidth + 1)
                        .map((each) => each.id || each.className || each.tagName)"""
                )
                assert over == [], (scheme, width)
            ground = "return getComputedStyle(document.querySelector('#move')).backgroundColor"
            grounds.add(browser.run_script(ground))
        assert len(grounds) == 2
        browser.click_button("Cancel", "#move")


def test_everything_has_a_name_and_is_reached_by_the_keyboard(
    browser: Browser, dev: DevServer
) -> None:
    with BackgroundClients(dev.url) as guests:
        guest = guests.connect_one(account="alice", rooms="lobby")
        open_view(browser, dev.url)
        wait_for_connections(browser, 1)
        browser.wait_for_text("#room-list tbody tr", "lobby")
        nameless = browser.run_script(
            """return [...document.querySelectorAll(
                "input, select, textarea, button, dialog, table, nav, form, section")]
            .filter((each) => !(each.labels?.length || each.innerText.trim() || each.ariaLabel
                || each.getAttribute("aria-labelledby"))).map((each) => each.outerHTML)"""
        )
        assert nameless == []
        assert (
            browser.run_script("return document.querySelector('#view-ops').ariaCurrent") == "page"
        )
        reached: list[str] = []
        name = "const it = document.activeElement; return it.ariaLabel || it.id || it.innerText"
        while f"Kick alice, connection {guest.id}" not in reached:
            browser.send_keys(Keys.TAB)
            reached.append(browser.run_script(name))
            outline = "return getComputedStyle(document.activeElement).outlineStyle"
            assert browser.run_script(outline) != "none"
            assert len(reached) < 40, reached
        assert {"Open lobby", "room-text", "of-room"} <= set(reached)
        # A question is answered, or left, without a mouse, and the focus is where it was.
        browser.send_keys(Keys.ENTER)
        assert browser.run_script(name) == "kick-reason"
        browser.send_keys(Keys.ESCAPE)
        browser.wait_until(lambda: not browser.find("#kick").is_displayed(), "the dialog to close")
        assert browser.run_script(name) == f"Kick alice, connection {guest.id}"
        assert guest.close_info is None
        browser.find("#room-list .open").send_keys(Keys.ENTER)
        assert browser.run_script(name) == "room-heading"
        browser.click_button("Close", "#room")
        assert browser.run_script(name) == "Open lobby"
