"""The page says what is so: after a kick, without Kafka or a WebSocket, in a backend's room."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.cli.command_process import CommandProcess
from tests.cli.conftest import DevServer, running_dev
from tests.harness.ports import free_ports
from tests.journey.browser import Browser, running_browser, running_for_another_page
from tests.web.publish_api import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    place = tmp_path_factory.mktemp("dev")
    settings = {"TOPICS": '["orders"]', "PORT": "0", "ADMIN_TOKENS": json.dumps([TOKEN])}
    with CommandProcess(place, "dev", **settings) as command:
        yield running_dev(command)


def request(dev: DevServer, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{dev.url.rstrip('/')}/v1/{path}"
    httpx.request(method, url, headers=headers, trust_env=False).raise_for_status()


def sign_in(browser: Browser, dev: DevServer, account: str) -> None:
    browser.visit("about:blank")
    browser.open(dev.url)
    browser.fill_field("Account", account)
    browser.click_button("Connect", "#sign-in")
    browser.wait_for_text("#state", "Connected")


def test_after_a_kick_nothing_can_be_joined_and_reconnect_signs_in_again(
    browser: Browser, dev: DevServer
) -> None:
    sign_in(browser, dev, "kicked")
    request(dev, "DELETE", "accounts/kicked/connections")
    browser.wait_for_text("#state", "Closed for good: 4504")
    assert browser.run_script("return document.getElementById('choice').inert") is True
    browser.click_button("Reconnect")
    browser.wait_for_text("#state", "Connected")
    assert browser.run_script("return document.getElementById('choice').inert") is False
    browser.fill_field("Room to join", "lobby")
    browser.click_button("Join")
    browser.wait_for_text("#rooms li", "lobby")


def test_a_room_of_the_backend_says_why_it_stays(browser: Browser, dev: DevServer) -> None:
    sign_in(browser, dev, "kept")
    request(dev, "PUT", "rooms/vip/accounts/kept")
    browser.wait_for_text("#rooms li", "vip")
    browser.find('#rooms [aria-label="Leave vip"]').click()
    browser.wait_for_text("#refusal", "The backend keeps this connection in vip")
    assert len(browser.texts("#rooms li")) == 1


def test_a_page_without_a_websocket_does_not_say_that_it_is_refused(
    browser: Browser, dev: DevServer, tmp_path: Path
) -> None:
    with running_for_another_page(tmp_path, dev.kafka) as url:
        browser.visit("about:blank")
        browser.open(url)
        browser.click_button("Connect", "#sign-in")
        browser.wait_for_text("#state", "by an event stream")
        note = browser.wait_for_text("#events .note", "BRIDGE_ALLOWED_ORIGINS")
        assert url.rstrip("/") in note
        assert not any("refuses the connection" in each for each in browser.texts("#events .note"))


def test_operations_are_not_green_without_kafka_and_know_no_lag(
    browser: Browser, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    (tmp_path / "dev").mkdir()
    with CommandProcess(tmp_path / "dev", "dev", TOPICS='["orders"]', PORT="0") as kafka:
        settings = {
            "PORT": str(port),
            "TOPICS": '["orders"]',
            "ADMIN_TOKENS": json.dumps([TOKEN]),
            "AUTH__SECRET": "s" * 32,
            "KAFKA__BOOTSTRAP_SERVERS": running_dev(kafka).kafka,
        }
        with CommandProcess(tmp_path, "serve", **settings) as process:
            process.wait_for_line("ready")
            browser.visit("about:blank")
            browser.visit(f"http://127.0.0.1:{port}/#ops")
            browser.wait_for_text("#ops-state", "Admin token required")
            browser.fill_field("Admin token", TOKEN, "#ops-sign-in")
            browser.click_button("Sign in", "#ops-sign-in")
            browser.wait_for_text("#ops-state", "Updated")
            kafka.send_signal(signal.SIGKILL)
            browser.wait_for_text("#ops-state", "Kafka unreachable")
            assert "BRIDGE_KAFKA__BOOTSTRAP_SERVERS" in browser.texts("#ops-error")[0]
            assert browser.find("#ops-state").get_attribute("data-state") == "stale"
            browser.wait_for_text("#feeds tbody tr", "unknown")
            browser.wait_for_text('[data-rate="Lag"] b', "\u2013")
