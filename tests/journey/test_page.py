"""The page, as a new user meets it: a real `push-bridge dev`, a real browser, events by Kafka."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command import Command, run
from tests.cli.conftest import Dev, running_dev
from tests.harness.ports import free_ports
from tests.journey.browser import Browser, browsing
from tests.web.posting import TOKEN
from tests.web.signing import SECRET, signed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HTML: Final = '<img src=x onerror="document.title=1"><b>bold</b>'
WIDTHS: Final = (400, 800, 1200)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the bridge runs."""
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    """Settings with which a bridge that is started again is where it was."""
    (port,) = free_ports(1)
    return {"PORT": str(port), "TOPICS": '["orders", "news"]'}


@pytest.fixture
def dev(place: Path, settings: dict[str, str]) -> Iterator[Dev]:
    with Command(place, "dev", **settings) as command:
        yield running_dev(command)


def publish(dev: Dev, place: Path, data: Any, *audience: str) -> None:
    """Write an event to Kafka, from another process."""
    arguments = ["--kafka", dev.kafka, "--topic", "orders", "--type", "order.shipped", *audience]
    done = run(place, "publish", *arguments, data if isinstance(data, str) else json.dumps(data))
    assert done.code == 0, done


def sign_in(browser: Browser, url: str, account: str = "alice") -> None:
    browser.looks("light", 1200)
    browser.open(url)
    browser.write("Account", account)
    browser.press("Connect", "#sign-in")
    browser.sees("#state", "Connected")


def test_a_new_user_signs_in_chooses_receives_and_sends(
    browser: Browser, dev: Dev, place: Path
) -> None:
    sign_in(browser, dev.url)
    assert browser.texts("#who") == ["alice"]
    assert browser.texts("#topics li") == ["news", "orders"]

    publish(dev, place, {"order": 42}, "--account", "alice")
    event = browser.sees("#events .event", '"order": 42')
    assert event.splitlines()[0].split()[:1] == ["order.shipped"]
    assert "orders" in event
    assert "account" in event

    publish(dev, place, {"room": "too early"}, "--room", "lobby")
    browser.write("Room to enter", "lobby")
    browser.press("Join")
    browser.sees("#rooms li", "lobby")
    publish(dev, place, {"room": "in time"}, "--room", "lobby")
    assert "room:lobby" in browser.sees("#events .event", "in time")
    assert not any("too early" in each for each in browser.texts("#events li"))

    # Newest first; markup is text, and numbers keep their digits.
    publish(dev, place, '{"html": ' + json.dumps(HTML) + ', "n": 12345678901234567890}', "--all")
    event = browser.sees("#events .event", "<b>bold</b>")
    assert json.dumps(HTML) in event
    assert "12345678901234567890" in event
    assert "<b>bold</b>" in browser.texts("#events .event")[0]
    assert browser.ask("return document.querySelectorAll('#desk img, #desk b').length") == 0
    assert browser.ask("return document.title") == "Push bridge"

    # Sent from the page, without a token typed, to who is signed in.
    assert not browser.find("#admin").is_displayed()
    browser.write("Type", "note.sent", "#send")
    browser.write("Data", '{"n": 98765432109876543210, "by": "the page"}', "#send")
    browser.press("Send", "#send")
    at = browser.sees("#sent", "Written at ").split()[-1]
    event = browser.sees("#events .event", "the page")
    assert "note.sent" in event
    assert "98765432109876543210" in event
    assert browser.find(f'#events [data-at="{at}"]').is_displayed()
    assert browser.texts("#count") == ["4"]

    # The frames are there as they were.
    frames = browser.texts("#frames li")
    assert json.loads(frames[-1].partition("{")[1] + frames[-1].partition("{")[2]) == {
        "op": "hello",
        "account": "alice",
    }
    assert any(at in each and each.startswith("↓") for each in frames)
    assert any('"op":"subscribe"' in each and each.startswith("↑") for each in frames)
    assert browser.complaints() == []


def test_topics_and_rooms_are_left_again_and_a_refusal_is_told(
    browser: Browser, dev: Dev, place: Path
) -> None:
    sign_in(browser, dev.url)
    browser.find('#topics input[value="orders"]').send_keys(Keys.SPACE)
    browser.sees("#frames li", '"op":"reply"')
    publish(dev, place, {"n": "unseen"}, "--account", "alice")
    browser.find('#topics input[value="orders"]').send_keys(Keys.SPACE)
    browser.until(lambda: len(browser.texts('#frames [data-op="reply"]')) == 2, "both replies")
    publish(dev, place, {"n": "seen"}, "--account", "alice")
    browser.sees("#events .event", '"seen"')
    assert not any('"unseen"' in each for each in browser.texts("#events .event"))
    browser.write("Room to enter", "lobby" + Keys.ENTER)
    browser.sees("#rooms li", "lobby")
    browser.find('[data-room="lobby"] button').click()
    browser.until(lambda: browser.texts("#rooms li") == [], "the room to be left")
    browser.write("Topic to subscribe to", "no-such-topic" + Keys.ENTER)
    assert "no-such-topic" in browser.sees("#refusal", "Refused")
    browser.write("Data", "not JSON", "#send")
    browser.press("Send", "#send")
    browser.sees("#sent", "not JSON")
    browser.write("Data", "1", "#send")
    browser.write("For accounts", " ", "#send")
    browser.press("Send", "#send")
    browser.sees("#sent", "422: ")
    browser.press("Pause")
    publish(dev, place, {"n": "held"}, "--account", "alice")
    browser.sees("#pause", "Resume (1)")
    assert not any('"held"' in each for each in browser.texts("#events .event"))
    browser.press("Resume")
    browser.sees("#events .event", '"held"')
    browser.press("Clear")
    assert browser.texts("#events li") == []
    browser.press("Sign out")
    assert browser.find("#sign-in").is_displayed()
    browser.sees("#state", "Not connected")


def test_a_server_that_is_started_again_is_come_back_to_and_the_gap_is_shown(
    browser: Browser, place: Path, settings: dict[str, str]
) -> None:
    with Command(place, "dev", **settings) as command:
        dev = running_dev(command)
        sign_in(browser, dev.url)
        browser.write("Room to enter", "lobby" + Keys.ENTER)
        browser.sees("#rooms li", "lobby")
        publish(dev, place, {"n": "before"}, "--account", "alice")
        browser.sees("#events .event", '"before"')
        command.signal(signal.SIGTERM)
        assert "4001" in browser.sees("#events .note", "Closed")
        assert "back" in browser.sees("#state", "Closed: ")
        assert command.ends() == 0
    with Command(place, "dev", **settings) as command:
        dev = running_dev(command)
        browser.sees("#state", "Connected")
        gap = browser.sees("#events .gap", "orders")
        assert "recreated" in gap
        # It is in the room that it was in, and its next events have the lower offsets.
        publish(dev, place, {"n": "after"}, "--room", "lobby")
        browser.sees("#events .event", '"after"')
        assert any('"before"' in each for each in browser.texts("#events .event"))
        command.signal(signal.SIGKILL)
        assert "1006" in browser.sees("#events .note", "the connection broke")
        assert command.ends() == -signal.SIGKILL
    with Command(place, "dev", **settings) as command:
        running_dev(command)
        browser.sees("#state", "Connected")
        # It came back with its cursor and the position since.
        newest = browser.texts('#frames [data-op="hello"]')[0]
        asked = json.loads(newest[newest.index("{") :])
        assert (asked["account"], asked["rooms"]) == ("alice", ["lobby"])
        assert re.fullmatch(r"[^,]+,orders:\d:0", asked["cursor"])
        browser.until(lambda: len(browser.texts("#events .gap")) == 4, "the gaps of both topics")


def test_a_serve_asks_for_tokens_and_says_why_one_will_not_do(
    browser: Browser, dev: Dev, place: Path
) -> None:
    (port,) = free_ports(1)
    settings = {
        "PORT": str(port),
        "TOPICS": '["orders"]',
        "AUTH__SECRET": SECRET,
        "ADMIN_TOKENS": json.dumps([TOKEN]),
        "KAFKA__BOOTSTRAP_SERVERS": dev.kafka,
    }
    with Command(place, "serve", **settings) as command:
        command.says("ready")
        browser.open(f"http://127.0.0.1:{port}/")
        browser.write("Token", "nonsense")
        browser.press("Connect", "#sign-in")
        assert "4500" in browser.sees("#why-not", "Refused")
        token = signed()
        browser.write("Token", token)
        browser.press("Connect", "#sign-in")
        browser.sees("#state", "Connected")
        assert not any(token in each for each in browser.texts("#frames li"))
        browser.write("For accounts", browser.texts("#who")[0], "#send")
        browser.press("Send", "#send")
        browser.sees("#sent", "401: ")
        browser.write("Admin token", TOKEN, "#send")
        browser.press("Send", "#send")
        browser.sees("#sent", "Written at ")
        browser.sees("#events .event", '"hello": "world"')


def test_a_page_whose_origin_is_not_listed_says_which_one_to_list(
    browser: Browser, place: Path, settings: dict[str, str]
) -> None:
    others = {**settings, "ALLOWED_ORIGINS": '["https://shop.example"]'}
    with Command(place, "dev", **others) as command:
        dev = running_dev(command)
        browser.open(dev.url)
        browser.press("Connect", "#sign-in")
        told = browser.sees("#events .note", "BRIDGE_ALLOWED_ORIGINS")
        assert dev.url.rstrip("/") in told


def test_it_fits_narrow_and_wide_light_and_dark(browser: Browser, dev: Dev, place: Path) -> None:
    sign_in(browser, dev.url, "a" * 200)
    publish(dev, place, {"long": "x" * 500, "path": {"a": [1] * 3}}, "--account", "a" * 200)
    browser.sees("#events .event", "xxx")
    grounds = {}
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            browser.looks(scheme, width)
            over = browser.ask(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert over == 0, (scheme, width)
        grounds[scheme] = browser.ask("return getComputedStyle(document.body).backgroundColor")
    assert grounds["light"] != grounds["dark"]


def test_everything_has_a_name_and_is_reached_by_the_keyboard(browser: Browser, dev: Dev) -> None:
    browser.looks("light", 1200)
    browser.open(dev.url)
    # The field for the account has the focus: no mouse is needed to begin.
    browser.type("alice" + Keys.ENTER)
    browser.sees("#state", "Connected")
    nameless = browser.ask(
        """return [...document.querySelectorAll("input, select, textarea, button")]
        .filter((each) => !(each.labels?.length || each.innerText.trim() || each.ariaLabel))
        .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    reached = []
    for _ in range(20):
        browser.type(Keys.TAB)
        reached.append(browser.ask("return document.activeElement.id"))
        # What has the focus can be seen to have it.
        assert browser.ask("return getComputedStyle(document.activeElement).outlineStyle") != "none"
        if reached[-1] == "frames":
            break
    assert {"events", "send-topic", "send-data", "frames"} <= set(reached)

    # Whoever leaves rooms one by one is never thrown back to the page's beginning.
    browser.write("Room to enter", "a" + Keys.ENTER)
    browser.sees("#rooms li", "a")
    browser.write("Room to enter", "b" + Keys.ENTER)
    browser.sees("#rooms li", "b")
    browser.find('[data-room="a"] button').send_keys(Keys.ENTER)
    browser.until(lambda: len(browser.texts("#rooms li")) == 1, "a to be left")
    assert browser.ask("return document.activeElement.ariaLabel") == "Leave b"
    browser.type(Keys.ENTER)
    browser.until(lambda: browser.texts("#rooms li") == [], "b to be left")
    assert browser.ask("return document.activeElement.id") == "new-room"
