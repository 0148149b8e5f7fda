"""The view for operators: tokens, a bridge that comes back, the keyboard, and its looks."""

from __future__ import annotations

import itertools
import json
import signal
from typing import TYPE_CHECKING, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command import Command
from tests.cli.conftest import Dev, running_dev
from tests.harness.ports import free_ports
from tests.journey.browser import Browser, browsing
from tests.journey.guests import Guests
from tests.journey.ops_desk import ask, look, obeyed, shown
from tests.web.posting import TOKEN
from tests.web.signing import SECRET, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

WIDTHS: Final = (390, 800, 1280)
LONG: Final = "a" * 200


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bridges run."""
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def dev(place: Path) -> Iterator[Dev]:
    with Command(place, "dev", TOPICS='["orders"]', PORT="0") as command:
        yield running_dev(command)


def test_a_serve_asks_for_the_token_says_that_one_is_wrong_and_takes_it_for_both_views(
    browser: Browser, dev: Dev, place: Path
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
    with Command(place, "serve", **settings) as command:
        command.says("ready")
        browser.visit("about:blank")
        browser.visit(f"http://127.0.0.1:{admin_port}/#ops")
        browser.sees("#ops-state", "Needs the admin token")
        focus = "return document.activeElement.id"
        for wrong in ("nonsense", "ключ"):
            browser.until(lambda: browser.ask(focus) == "ops-token", "the focus")
            browser.type(wrong + Keys.ENTER)
            assert "BRIDGE_ADMIN_TOKENS" in browser.sees("#ops-why", "401")
            browser.until(lambda: browser.find("#ops-sign-in").is_displayed(), "to be asked again")
            assert not browser.find("#ops-desk").is_displayed()
        browser.until(lambda: browser.ask(focus) == "ops-token", "the focus")
        browser.type(TOKEN + Keys.ENTER)
        browser.sees("#ops-state", "Fresh")
        browser.until(lambda: len(browser.texts("#instances tbody tr")) == 2, "both instances")
        assert "this one" in browser.sees("#instances tbody tr", "serve-1")
        assert len([each for each in browser.texts("#instances .badge") if each]) == 1
        # Those who sign in to send need not type it again.
        browser.find("#view-client").click()
        browser.write("Token", signed())
        browser.press("Connect", "#sign-in")
        browser.sees("#state", "Connected")
        browser.press("Send", "#send")
        browser.sees("#sent", "Written at ")
        browser.find("#view-ops").click()
        (row,) = shown(browser, 1)
        assert "serve-1" in row


def test_a_bridge_that_is_started_again_is_come_back_to(browser: Browser, place: Path) -> None:
    (port,) = free_ports(1)
    settings = {"PORT": str(port), "TOPICS": '["orders"]', "INSTANCE": "here"}
    with Command(place, "dev", "--demo", **settings) as command:
        dev = running_dev(command)
        with Guests(dev.url) as guests:
            guest = guests.one(account="alice")
            look(browser, dev.url)
            shown(browser, 1)
            command.signal(signal.SIGKILL)
            command.ends()
            assert guest.waits_for_the_end()[0] == 1006
        browser.sees("#ops-state", "No answer")
        assert "asked again" in browser.sees("#ops-trouble", "does not answer")
        # It says so all the time, whichever question was the last one.
        for _ in range(25):
            assert browser.texts("#ops-state") == ["No answer"]
            browser.ask("return new Promise((done) => setTimeout(done, 200))")
        # What was shown is there still.
        shown(browser, 1)
    # It comes back with another token, and counters that begin anew.
    with Command(place, "dev", "--demo", **settings) as command:
        dev = running_dev(command)
        browser.sees("#ops-state", "Fresh")
        assert browser.texts("#ops-trouble") == [""]
        shown(browser, 0)
        with Guests(dev.url) as guests:
            guest = guests.one(account="bob")
            shown(browser, 1)
            drawn = "return document.querySelector('[data-rate=\"Events read\"] path').outerHTML"
            browser.until(lambda: browser.ask(drawn).count("L") > 1, "a line")
            assert "-" not in browser.ask(drawn.replace("outerHTML", "getAttribute('d')"))
            ask(browser, "kick", guest.id)
            browser.type(Keys.ENTER)
            assert guest.waits_for_the_end()[0] == 4504
            obeyed(browser, guest.id)
        command.signal(signal.SIGTERM)
        browser.sees("#ops-state", "No answer")


def test_nothing_is_asked_while_nobody_looks_and_never_two_at_a_time(
    browser: Browser, dev: Dev
) -> None:
    look(browser, dev.url)
    count = """return performance.getEntriesByType("resource")
        .filter((each) => each.name.includes("/v1/")).map((each) => [each.name, each.startTime])"""
    browser.ask("performance.clearResourceTimings()")
    browser.until(lambda: len(browser.ask(count)) >= 8, "two rounds")
    lists: dict[str, list[float]] = {}
    for url, start in browser.ask(count):
        lists.setdefault(url, []).append(start)
    assert len(lists) == 4
    for starts in lists.values():
        assert all(b - a > 1_900 for a, b in itertools.pairwise(starts))
    hide = """Object.defineProperty(document, "visibilityState",
        { configurable: true, value: arguments[0] });
        document.dispatchEvent(new Event("visibilitychange"));"""
    wait = "return new Promise((done) => setTimeout(done, 3000))"
    for away, back in (
        (lambda: browser.ask(hide, "hidden"), lambda: browser.ask(hide, "visible")),
        (lambda: browser.find("#view-client").click(), lambda: browser.find("#view-ops").click()),
    ):
        away()
        browser.ask("return new Promise((done) => setTimeout(done, 500))")
        browser.ask("performance.clearResourceTimings()")
        browser.ask(wait)
        assert browser.ask(count) == []
        back()
        browser.until(lambda: len(browser.ask(count)) >= 4, "it to ask again")


def test_it_fits_narrow_and_wide_light_and_dark(browser: Browser, dev: Dev) -> None:
    with Guests(dev.url) as guests:
        many = ",".join(f"{n}{'r' * 60}" for n in range(20))
        guest = guests.one(account=LONG, rooms=f"{many},{'x' * 200}")
        look(browser, dev.url)
        shown(browser, 1)
        browser.find("#room-list .open").click()
        ask(browser, "move", guest.id)
        grounds = set()
        for scheme in ("light", "dark"):
            for width in WIDTHS:
                browser.looks(scheme, width)
                over = browser.ask(
                    """return [document.documentElement, ...document.querySelectorAll(
                        "main, .card, .list, .panel, dialog[open]")]
                        .filter((each) => each.scrollWidth > each.clientWidth + 1)
                        .map((each) => each.id || each.className || each.tagName)"""
                )
                assert over == [], (scheme, width)
            ground = "return getComputedStyle(document.querySelector('#move')).backgroundColor"
            grounds.add(browser.ask(ground))
        assert len(grounds) == 2
        browser.press("Cancel", "#move")


def test_everything_has_a_name_and_is_reached_by_the_keyboard(browser: Browser, dev: Dev) -> None:
    with Guests(dev.url) as guests:
        guest = guests.one(account="alice", rooms="lobby")
        look(browser, dev.url)
        shown(browser, 1)
        browser.sees("#room-list tbody tr", "lobby")
        nameless = browser.ask(
            """return [...document.querySelectorAll(
                "input, select, textarea, button, dialog, table, nav, form, section")]
            .filter((each) => !(each.labels?.length || each.innerText.trim() || each.ariaLabel
                || each.getAttribute("aria-labelledby"))).map((each) => each.outerHTML)"""
        )
        assert nameless == []
        assert browser.ask("return document.querySelector('#view-ops').ariaCurrent") == "page"
        reached: list[str] = []
        name = "const it = document.activeElement; return it.ariaLabel || it.id || it.innerText"
        while f"Kick alice, connection {guest.id}" not in reached:
            browser.type(Keys.TAB)
            reached.append(browser.ask(name))
            outline = "return getComputedStyle(document.activeElement).outlineStyle"
            assert browser.ask(outline) != "none"
            assert len(reached) < 40, reached
        assert {"Open lobby", "room-text", "of-room"} <= set(reached)
        # A question is answered, or left, without a mouse, and the focus is where it was.
        browser.type(Keys.ENTER)
        assert browser.ask(name) == "kick-reason"
        browser.type(Keys.ESCAPE)
        browser.until(lambda: not browser.find("#kick").is_displayed(), "the dialog to close")
        assert browser.ask(name) == f"Kick alice, connection {guest.id}"
        assert guest.closed is None
        browser.find("#room-list .open").send_keys(Keys.ENTER)
        assert browser.ask(name) == "room-heading"
        browser.press("Close", "#room")
        assert browser.ask(name) == "Open lobby"
