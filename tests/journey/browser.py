"""A real Chromium with a profile of its own, and what a test does with the page in it."""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.cli.command_process import CommandProcess
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from selenium.webdriver.remote.webelement import WebElement

TIMEOUT_SECONDS = 60.0
_SWITCHES = (
    *("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    *(
        "disable-dev-shm-usage",
        "disable-default-apps",
        "no-proxy-server",
        "force-color-profile=srgb",
    ),
)


class Browser:
    """One window, looked at as a person would: by labels and by what is written."""

    def __init__(self, driver: Chrome) -> None:
        self._driver = driver

    def visit(self, url: str) -> None:
        """Go to `url`, whatever is there."""
        self._driver.get(url)

    def open(self, url: str) -> None:
        """Go to `url`, and wait for the page to have made up its mind."""
        self._driver.get(url)
        self.wait_until(lambda: self.find("#sign-in").is_displayed(), "the form to sign in")

    def find(self, css: str) -> WebElement:
        return self._driver.find_element(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        """The visible text of each such element, read at once."""
        script = "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)"
        found: list[str] = self._driver.execute_script(script, css)
        return found

    def run_script(self, script: str, *arguments: Any) -> Any:
        return self._driver.execute_script(script, *arguments)

    def field(self, label: str, within: str = "body") -> WebElement:
        """The field that has this label."""
        script = """return [...document.querySelectorAll(`${arguments[1]} label`)].find(
            (each) => each.innerText.trim().startsWith(arguments[0]))?.control"""
        found: WebElement | None = self._driver.execute_script(script, label, within)
        assert found is not None, f"nothing is labelled {label!r}"
        return found

    def fill_field(self, label: str, text: str, within: str = "body") -> None:
        field = self.field(label, within)
        field.clear()
        field.send_keys(text)

    def send_keys(self, keys: str) -> None:
        """Type into whatever has the focus."""
        self._driver.switch_to.active_element.send_keys(keys)

    def click_button(self, text: str, within: str = "body") -> None:
        """Click the button that says `text`."""
        for button in self.find(within).find_elements(By.TAG_NAME, "button"):
            if button.is_displayed() and button.text.strip().startswith(text):
                button.click()
                return
        raise AssertionError(f"no button says {text!r}")

    def wait_until(self, condition: Callable[[], object], description: str) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            with contextlib.suppress(StaleElementReferenceException):
                if condition():
                    return
            assert time.monotonic() < deadline, (
                f"waited in vain for {description}; {self.page_summary()}"
            )
            time.sleep(0.05)

    def page_summary(self) -> str:
        """What the page says, for a test that fails."""
        lines = [*self.texts("#state"), *self.texts("#why-not"), *self.texts("#frames li")[:5]]
        return " | ".join(lines)

    def wait_for_text(self, css: str, text: str) -> str:
        """Wait for an element with this text in it; return all of its text."""
        self.wait_until(lambda: any(text in each for each in self.texts(css)), f"{text!r} in {css}")
        return next(each for each in self.texts(css) if text in each)

    def emulate_screen(self, scheme: str, width: int, height: int = 900) -> None:
        """Prefer `scheme`, light or dark, and be so wide."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._cdp("Emulation.setEmulatedMedia", features=features)
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def save_screenshot(self, path: Path) -> None:
        path.write_bytes(self._driver.get_screenshot_as_png())

    def console_errors(self) -> list[str]:
        """What the browser itself found wrong, less connections that broke as the test wants."""
        log = [
            str(entry["message"])
            for entry in self._driver.get_log("browser")  # type: ignore[no-untyped-call]
        ]
        return [line for line in log if "WebSocket" not in line and "ERR_CONNECTION" not in line]

    def _cdp(self, command: str, **arguments: Any) -> None:
        self._driver.execute_cdp_cmd(command, arguments)


@contextlib.contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Run Chromium with nothing of anybody's in it, and nothing fetched for it."""
    options = ChromeOptions()
    names = ("chromium", "chromium-browser", "google-chrome")
    options.binary_location = next(filter(None, map(shutil.which, names)))
    for switch in (*_SWITCHES, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@contextlib.contextmanager
def running_for_another_page(folder: Path, kafka: str) -> Iterator[str]:
    """A bridge on the broker of a `dev` that lets no page connect but one of a shop; its URL."""
    (port,) = free_ports(1)
    settings = {
        "PORT": str(port),
        "TOPICS": '["orders"]',
        "AUTH__MODE": "none",
        "ADMIN_TOKENS": '["an-admin-token-for-tests"]',
        "ALLOWED_ORIGINS": '["https://shop.example"]',
        "KAFKA__BOOTSTRAP_SERVERS": kafka,
        "INSTANCE": "for-another-page",
        "DRAIN_SECONDS": "0",
    }
    with CommandProcess(folder, "serve", **settings) as process:
        process.wait_for_line("ready")
        yield f"http://{HOST}:{port}/"
