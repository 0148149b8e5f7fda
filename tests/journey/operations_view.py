"""What an operator does in the page's second view, with a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.journey.browser import Browser

ROWS: Final = "#connections tbody tr"


def open_view(browser: Browser, url: str) -> None:
    """Open the view of a bridge, and wait for it to show something."""
    browser.visit("about:blank")
    browser.emulate_screen("light", 1280)
    browser.visit(f"{url.rstrip('/')}/#ops")
    browser.wait_for_text("#ops-state", "Updated")


def filter_connections(browser: Browser, **wanted: str) -> None:
    """Show the connections of an account, in a room, with a topic, at an instance."""
    labels = {
        "account": "Account",
        "room": "Room",
        "topic": "Topic",
        "instance": "Instance",
    }
    for name, label in labels.items():
        browser.fill_field(label, wanted.get(name, ""), "#connections-filter")
    browser.click_button("Show", "#connections-filter")


def wait_for_connections(browser: Browser, count: int) -> list[str]:
    """Wait until so many connections are shown; return what is said of them."""
    browser.wait_until(lambda: len(browser.texts(ROWS)) == count, f"{count} connections")
    return browser.texts(ROWS)


def open_dialog(browser: Browser, button: str, id: str) -> None:
    """Press a button, `move` or `kick`, of a connection, and see what it asks."""
    browser.wait_for_text(ROWS, id)
    script = """const row = [...document.querySelectorAll(arguments[0])]
        .find((each) => each.innerText.includes(arguments[1]));
        row.scrollIntoView({ block: "center" });
        return row.querySelector(arguments[2])"""
    browser.run_script(script, ROWS, id, f".{button}").click()
    browser.wait_until(
        lambda: browser.find(f"dialog#{button}").is_displayed(), f"the {button} dialog"
    )


def submit_dialog(browser: Browser, dialog: str, button: str, *choices: str, **fields: str) -> None:
    """Answer a dialog: take these choices, fill in these fields, press the button."""
    within = f"#{dialog}"
    for choice in choices:
        browser.field(choice, within).click()
    for label, text in fields.items():
        browser.fill_field(label.replace("_", " "), text, within)
    browser.click_button(button, within)
    browser.wait_until(
        lambda: not browser.find(within).is_displayed(), f"the {dialog} dialog to close"
    )


def wait_for_command(browser: Browser, command: str) -> str:
    """Wait until a command took effect; return its line."""
    browser.wait_until(
        lambda: any(
            command in each and "took effect" in each for each in browser.texts("#commands-list li")
        ),
        f"{command!r} to take effect: {browser.texts('#commands-list li')}",
    )
    return browser.wait_for_text("#commands-list li", command)
