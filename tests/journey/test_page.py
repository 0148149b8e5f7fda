"""The page, as a new user meets it: a real `push-bridge dev`, a real browser, events by Kafka."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command_process import CommandProcess, run
from tests.cli.conftest import DevServer, running_dev
from tests.harness.ports import free_ports
from tests.journey.browser import Browser, running_browser, running_for_another_page
from tests.web.publish_api import TOKEN
from tests.web.token_signing import SECRET, sign_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HTML: Final = '<img src=x onerror="document.title=1"><b>bold</b>'
WIDTHS: Final = (400, 800, 1200)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
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
def dev(place: Path, settings: dict[str, str]) -> Iterator[DevServer]:
    with CommandProcess(place, "dev", **settings) as command:
        yield running_dev(command)


def publish(dev: DevServer, place: Path, data: Any, *audience: str) -> None:
    """Write an event to Kafka, from another process."""
    arguments = ["--kafka", dev.kafka, "--topic", "orders", "--type", "order.shipped", *audience]
    done = run(place, "publish", *arguments, data if isinstance(data, str) else json.dumps(data))
    assert done.exit_code == 0, done


def sign_in(browser: Browser, url: str, account: str = "alice") -> None:
    browser.emulate_screen("light", 1200)
    browser.open(url)
    browser.fill_field("Account", account)
    browser.click_button("Connect", "#sign-in")
    browser.wait_for_text("#state", "Connected")


def test_a_new_user_signs_in_chooses_receives_and_sends(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    sign_in(browser, dev.url)
    assert browser.texts("#who") == ["alice"]
    assert browser.texts("#topics li") == ["news", "orders"]

    publish(dev, place, {"order": 42}, "--account", "alice")
    event = browser.wait_for_text("#events .event", '"order": 42')
    assert event.splitlines()[0].split()[:1] == ["order.shipped"]
    assert "orders" in event
    assert "account" in event

    publish(dev, place, {"room": "too early"}, "--room", "lobby")
    browser.fill_field("Room to join", "lobby")
    browser.click_button("Join")
    browser.wait_for_text("#rooms li", "lobby")
    publish(dev, place, {"room": "in time"}, "--room", "lobby")
    assert "room:lobby" in browser.wait_for_text("#events .event", "in time")
    assert not any("too early" in each for each in browser.texts("#events li"))

    # Newest first; markup is text, and numbers keep their digits.
    publish(dev, place, '{"html": ' + json.dumps(HTML) + ', "n": 12345678901234567890}', "--all")
    event = browser.wait_for_text("#events .event", "<b>bold</b>")
    assert json.dumps(HTML) in event
    assert "12345678901234567890" in event
    assert "<b>bold</b>" in browser.texts("#events .event")[0]
    assert browser.run_script("return document.querySelectorAll('#desk img, #desk b').length") == 0
    assert browser.run_script("return document.title") == "Push bridge"

    # Sent from the page, without a token typed, to who is signed in.
    assert not browser.find("#admin").is_displayed()
    browser.fill_field("Type", "note.sent", "#send")
    browser.fill_field("Data", '{"n": 98765432109876543210, "by": "the page"}', "#send")
    browser.click_button("Send", "#send")
    at = browser.wait_for_text("#sent", "Written at ").split()[-1]
    event = browser.wait_for_text("#events .event", "the page")
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
    assert browser.console_errors() == []


def test_topics_and_rooms_are_left_again_and_a_refusal_is_told(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    sign_in(browser, dev.url)
    browser.find('#topics input[value="orders"]').send_keys(Keys.SPACE)
    browser.wait_for_text("#frames li", '"op":"reply"')
    publish(dev, place, {"n": "unseen"}, "--account", "alice")
    browser.find('#topics input[value="orders"]').send_keys(Keys.SPACE)
    browser.wait_until(lambda: len(browser.texts('#frames [data-op="reply"]')) == 2, "both replies")
    publish(dev, place, {"n": "seen"}, "--account", "alice")
    browser.wait_for_text("#events .event", '"seen"')
    assert not any('"unseen"' in each for each in browser.texts("#events .event"))
    browser.fill_field("Room to join", "lobby" + Keys.ENTER)
    browser.wait_for_text("#rooms li", "lobby")
    browser.find('[data-room="lobby"] button').click()
    browser.wait_until(lambda: browser.texts("#rooms li") == [], "the room to be left")
    browser.fill_field("Topic to subscribe to", "no-such-topic" + Keys.ENTER)
    assert "no-such-topic" in browser.wait_for_text("#refusal", "Refused")
    browser.fill_field("Data", "not JSON", "#send")
    browser.click_button("Send", "#send")
    browser.wait_for_text("#sent", "not JSON")
    browser.fill_field("Data", "1", "#send")
    browser.fill_field("Accounts", " ", "#send")
    browser.click_button("Send", "#send")
    browser.wait_for_text("#sent", "422: ")
    browser.click_button("Pause")
    publish(dev, place, {"n": "held"}, "--account", "alice")
    browser.wait_for_text("#pause", "Resume (1)")
    assert not any('"held"' in each for each in browser.texts("#events .event"))
    browser.click_button("Resume")
    browser.wait_for_text("#events .event", '"held"')
    browser.click_button("Clear")
    assert browser.texts("#events li") == []
    browser.click_button("Sign out")
    assert browser.find("#sign-in").is_displayed()
    browser.wait_for_text("#state", "Not connected")


def test_a_server_that_is_started_again_is_come_back_to_and_the_gap_is_shown(
    browser: Browser, place: Path, settings: dict[str, str]
) -> None:
    with CommandProcess(place, "dev", **settings) as command:
        dev = running_dev(command)
        sign_in(browser, dev.url)
        browser.fill_field("Room to join", "lobby" + Keys.ENTER)
        browser.wait_for_text("#rooms li", "lobby")
        publish(dev, place, {"n": "before"}, "--account", "alice")
        browser.wait_for_text("#events .event", '"before"')
        command.send_signal(signal.SIGTERM)
        assert "4001" in browser.wait_for_text("#events .note", "Closed")
        assert "reconnecting" in browser.wait_for_text("#state", "Closed: ")
        assert command.wait_exit() == 0
    with CommandProcess(place, "dev", **settings) as command:
        dev = running_dev(command)
        browser.wait_for_text("#state", "Connected")
        gap = browser.wait_for_text("#events .gap", "orders")
        assert "recreated" in gap
        # It is in the room that it was in, and its next events have the lower offsets.
        publish(dev, place, {"n": "after"}, "--room", "lobby")
        browser.wait_for_text("#events .event", '"after"')
        assert any('"before"' in each for each in browser.texts("#events .event"))
        command.send_signal(signal.SIGKILL)
        assert "1006" in browser.wait_for_text("#events .note", "the connection broke")
        assert command.wait_exit() == -signal.SIGKILL
    with CommandProcess(place, "dev", **settings) as command:
        running_dev(command)
        browser.wait_for_text("#state", "Connected")
        # It came back with its cursor and the position since.
        newest = browser.texts('#frames [data-op="hello"]')[0]
        asked = json.loads(newest[newest.index("{") :])
        assert (asked["account"], asked["rooms"]) == ("alice", ["lobby"])
        assert re.fullmatch(r"[^,]+,orders:\d:0", asked["cursor"])
        browser.wait_until(
            lambda: len(browser.texts("#events .gap")) == 4, "the gaps of both topics"
        )


def test_a_serve_asks_for_tokens_and_says_why_one_will_not_do(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    (port,) = free_ports(1)
    settings = {
        "PORT": str(port),
        "TOPICS": '["orders"]',
        "AUTH__SECRET": SECRET,
        "ADMIN_TOKENS": json.dumps([TOKEN]),
        "KAFKA__BOOTSTRAP_SERVERS": dev.kafka,
    }
    with CommandProcess(place, "serve", **settings) as command:
        command.wait_for_line("ready")
        browser.open(f"http://127.0.0.1:{port}/")
        browser.fill_field("Token", "nonsense")
        browser.click_button("Connect", "#sign-in")
        assert "4500" in browser.wait_for_text("#why-not", "Refused")
        assert not browser.find("#again").is_displayed()
        token = sign_token()
        browser.fill_field("Token", token)
        browser.click_button("Connect", "#sign-in")
        browser.wait_for_text("#state", "Connected")
        assert not any(token in each for each in browser.texts("#frames li"))
        browser.fill_field("Accounts", browser.texts("#who")[0], "#send")
        browser.click_button("Send", "#send")
        browser.wait_for_text("#sent", "401: ")
        browser.fill_field("Admin token", TOKEN, "#send")
        browser.click_button("Send", "#send")
        browser.wait_for_text("#sent", "Written at ")
        browser.wait_for_text("#events .event", '"hello": "world"')


def test_a_page_whose_origin_is_not_listed_says_which_one_to_list(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    with running_for_another_page(place, dev.kafka) as url:
        browser.open(url)
        browser.click_button("Connect", "#sign-in")
        told = browser.wait_for_text("#events .note", "BRIDGE_ALLOWED_ORIGINS")
        assert url.rstrip("/") in told


def test_it_fits_narrow_and_wide_light_and_dark(
    browser: Browser, dev: DevServer, place: Path
) -> None:
    sign_in(browser, dev.url, "a" * 200)
    publish(dev, place, {"long": "x" * 500, "path": {"a": [1] * 3}}, "--account", "a" * 200)
    browser.wait_for_text("#events .event", "xxx")
    grounds = {}
    for scheme in ("light", "dark"):
        for width in WIDTHS:
            browser.emulate_screen(scheme, width)
            over = browser.run_script(
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
            assert over == 0, (scheme, width)
        grounds[scheme] = browser.run_script(
            "return getComputedStyle(document.body).backgroundColor"
        )
    assert grounds["light"] != grounds["dark"]


def test_everything_has_a_name_and_is_reached_by_the_keyboard(
    browser: Browser, dev: DevServer
) -> None:
    browser.emulate_screen("light", 1200)
    browser.open(dev.url)
    # The field for the account has the focus: no mouse is needed to begin.
    browser.send_keys("alice" + Keys.ENTER)
    browser.wait_for_text("#state", "Connected")
    nameless = browser.run_script(
        """return [...document.querySelectorAll("input, select, textarea, button")]
        .filter((each) => !(each.labels?.length || each.innerText.trim() || each.ariaLabel))
        .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    reached = []
    for _ in range(20):
        browser.send_keys(Keys.TAB)
        reached.append(browser.run_script("return document.activeElement.id"))
        # What has the focus can be seen to have it.
        assert (
            browser.run_script("return getComputedStyle(document.activeElement).outlineStyle")
            != "none"
        )
        if reached[-1] == "frames":
            break
    assert {"events", "send-topic", "send-data", "frames"} <= set(reached)

    # Whoever leaves rooms one by one is never thrown back to the page's beginning.
    browser.fill_field("Room to join", "a" + Keys.ENTER)
    browser.wait_for_text("#rooms li", "a")
    browser.fill_field("Room to join", "b" + Keys.ENTER)
    browser.wait_for_text("#rooms li", "b")
    browser.find('[data-room="a"] button').send_keys(Keys.ENTER)
    browser.wait_until(lambda: len(browser.texts("#rooms li")) == 1, "a to be left")
    assert browser.run_script("return document.activeElement.ariaLabel") == "Leave b"
    browser.send_keys(Keys.ENTER)
    browser.wait_until(lambda: browser.texts("#rooms li") == [], "b to be left")
    assert browser.run_script("return document.activeElement.id") == "new-room"
