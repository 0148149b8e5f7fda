"""The view for operators: a real bridge, a real browser, and clients that are told what it did."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command_process import CommandProcess
from tests.cli.conftest import DevServer, running_dev
from tests.journey.background_clients import BackgroundClients
from tests.journey.browser import Browser, running_browser
from tests.journey.operations_view import (
    ROWS,
    filter_connections,
    open_dialog,
    open_view,
    submit_dialog,
    wait_for_command,
    wait_for_connections,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HTML: Final = '<img src=x onerror="document.title=1"><b>bold</b>'
INSTANCE: Final = "ops-1"
AT: Final = re.compile(r"push-bridge\.control:\d+:\d+")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """One bridge for all tests: each has accounts and rooms of its own."""
    settings = {"TOPICS": '["orders", "news"]', "PORT": "0", "INSTANCE": INSTANCE}
    with CommandProcess(tmp_path_factory.mktemp("dev"), "dev", "--demo", **settings) as command:
        yield running_dev(command)


@pytest.fixture
def guests(dev: DevServer) -> Iterator[BackgroundClients]:
    with BackgroundClients(dev.url) as guests:
        yield guests


@pytest.fixture
def name() -> str:
    """What no other test calls anything."""
    return f"n-{uuid.uuid4().hex[:8]}"


def room_row(browser: Browser, room: str) -> str:
    """What the list says of a room."""
    browser.fill_field("Name or title contains", room, "#rooms-filter")
    browser.click_button("Find", "#rooms-filter")
    return browser.wait_for_text("#room-list tbody tr", room)


def test_an_operator_sees_instances_feeds_rooms_connections_and_rates(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    first, second = guests.connect(
        {"account": name, "rooms": f"{name}:1", "topics": "orders"}, {"rooms": f"{name}:1"}
    )
    open_view(browser, dev.url)
    instance = browser.wait_for_text("#instances tbody tr", INSTANCE)
    assert "this one" in instance
    assert "ready" in instance
    assert re.search(r"\d+ s\s+\d+ s ago\s+2\s", instance), instance
    feed = browser.wait_for_text("#feeds tbody tr", "orders")
    assert "reading" in feed
    browser.wait_for_text("#connected", "2")
    rows = wait_for_connections(browser, 2)
    (mine,) = [row for row in rows if first.id in row]
    assert {name, f"{name}:1", "orders", "127.0.0.1", INSTANCE, "0 B"} <= {
        *re.split(r"[\t\n]+", mine)
    }
    (nameless,) = [row for row in rows if second.id in row]
    assert "no account" in nameless
    assert "news, orders" in nameless
    assert re.search(r"\s0\s+2\s", room_row(browser, f"{name}:1"))

    # What a feed's partitions are behind by, on demand.
    browser.find('#feeds [aria-label="4 partitions of orders: show their lag"]').click()
    partitions = browser.texts("#partitions tbody tr")
    assert [line.split()[0] for line in partitions] == ["0", "1", "2", "3"]
    browser.click_button("Close", "#feed")

    # The demo's events, one a second, are read; what was read was for somebody.
    browser.wait_until(lambda: re.match(r"[\d.]+ ?/s", rate(browser, "Records read")), "a rate")
    browser.wait_until(lambda: float(rate(browser, "Records read").split("/")[0]) > 0, "events")
    browser.wait_until(lambda: line(browser, "Routed").count("L") > 1, "a line")
    assert rate(browser, "Connections").startswith("2")
    assert browser.console_errors() == []


def rate(browser: Browser, name: str) -> str:
    (said,) = browser.texts(f'[data-rate="{name}"] .rate')
    return said.replace("\n", "")


def line(browser: Browser, name: str) -> str:
    drawn: str = browser.run_script(
        "return document.querySelector(arguments[0]).getAttribute('d')",
        f'[data-rate="{name}"] path',
    )
    return drawn


def test_who_is_kicked_is_told_why_and_goes_from_the_list(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    one, other = guests.connect({"account": name}, {"account": name})
    open_view(browser, dev.url)
    filter_connections(browser, account=name)
    wait_for_connections(browser, 2)
    open_dialog(browser, "kick", one.id)
    browser.click_button("Cancel", "#kick")
    open_dialog(browser, "kick", one.id)
    submit_dialog(browser, "kick", "Disconnect", Reason="too loud")
    assert one.wait_closed() == (4504, "disconnected by the backend: too loud")
    assert AT.search(wait_for_command(browser, one.id))
    (left,) = wait_for_connections(browser, 1)
    assert other.id in left
    assert other.close_info is None


def test_a_whole_account_is_kicked_and_nobody_else(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    one, other, apart = guests.connect(*({"account": each} for each in (name, name, f"{name}x")))
    open_view(browser, dev.url)
    filter_connections(browser, account=name)
    wait_for_connections(browser, 2)
    open_dialog(browser, "kick", one.id)
    submit_dialog(browser, "kick", "Disconnect", "Every connection")
    assert {one.wait_closed()[0], other.wait_closed()[0]} == {4504}
    wait_for_command(browser, f"Kick account {name}")
    browser.wait_for_text("#connections-none", "No connection")
    assert apart.close_info is None


def test_a_connection_is_put_into_a_room_moved_and_taken_out(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    guest = guests.connect_one(account=name)
    one, other = f"{name}/1", f"{name}:2 %"
    open_view(browser, dev.url)
    filter_connections(browser, account=name)
    open_dialog(browser, "move", guest.id)
    submit_dialog(browser, "move", "Apply", To=one)
    guest.wait_for_frame("rooms", joined=[one], left=[])
    assert AT.search(wait_for_command(browser, f"to {one}"))
    browser.wait_for_text(ROWS, one)

    open_dialog(browser, "move", guest.id)
    browser.wait_for_text("#move-in", f"In: {one}")
    submit_dialog(browser, "move", "Apply", "Move to", From=one, To=other)
    guest.wait_for_frame("rooms", joined=[other], left=[])
    guest.wait_for_frame("rooms", joined=[], left=[one])
    wait_for_command(browser, f"from {one}")
    browser.wait_for_text(ROWS, other)

    open_dialog(browser, "move", guest.id)
    submit_dialog(browser, "move", "Apply", "Remove", From=other)
    guest.wait_for_frame("rooms", joined=[], left=[other])


def test_an_account_is_put_into_a_room_for_good_and_a_room_is_given_a_title(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    guest = guests.connect_one(account=name)
    room = f"{name}:r"
    open_view(browser, dev.url)
    filter_connections(browser, account=name)
    open_dialog(browser, "move", guest.id)
    submit_dialog(browser, "move", "Apply", "Account", To=room)
    guest.wait_for_frame("rooms", joined=[room], left=[])
    wait_for_command(browser, f"account {name} to {room}")

    room_row(browser, room)
    browser.find(f'[aria-label="Open {room}"]').click()
    browser.wait_for_text("#members tbody tr", name)
    browser.fill_field("Title", "The first", "#room")
    browser.click_button("Set", "#room")
    assert AT.search(wait_for_command(browser, f"Set the title of {room}"))
    browser.wait_for_text("#room-list tbody tr", "The first")
    browser.fill_field("Account to add", f"{name}x", "#room")
    browser.click_button("Add", "#room")
    browser.wait_for_text("#members tbody tr", f"{name}x")
    browser.find(f'[aria-label="Remove {name}"]').click()
    guest.wait_for_frame("rooms", joined=[], left=[room])
    browser.wait_until(lambda: len(browser.texts("#members tbody tr")) == 1, "one member")
    browser.fill_field("Name or title contains", "the FIRST", "#rooms-filter")
    browser.click_button("Find", "#rooms-filter")
    browser.wait_until(lambda: len(browser.texts("#room-list tbody tr")) == 1, "what was found")
    browser.click_button("Close", "#room")


def test_what_is_refused_is_said_where_it_was_asked_for(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    guest = guests.connect_one(account=name)
    open_view(browser, dev.url)
    filter_connections(browser, account="a*b")
    assert "Correct the input" in browser.wait_for_text("#connections-error", "422")
    filter_connections(browser, account=name)
    browser.wait_until(lambda: browser.texts("#connections-error") == [""], "no error")
    for wrong, why in (("a*b", "422"), ("..", "a browser cannot")):
        open_dialog(browser, "move", guest.id)
        browser.fill_field("To", wrong, "#move")
        browser.click_button("Apply", "#move")
        browser.wait_for_text("#move-refused", why)
        browser.click_button("Cancel", "#move")
    assert guest.close_info is None
    assert [frame["op"] for frame in guest.frames if frame["op"] == "rooms"] == []


def test_connections_are_filtered_and_turned_page_by_page(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    many = guests.connect(
        *({"account": f"{name}-{n}", "rooms": name, "topics": "orders"} for n in range(60))
    )
    guests.connect({"account": f"{name}-0", "topics": "news"})
    open_view(browser, dev.url)
    filter_connections(browser, room=name)
    rooms = "#connections td[data-heading=Rooms]"
    browser.wait_until(lambda: {*browser.texts(rooms)} == {name}, "those in the room only")
    first = wait_for_connections(browser, 50)
    browser.click_button("Next", "#connections-pages")
    second = wait_for_connections(browser, 10)
    told = "\n".join([*first, *second])
    assert all(told.count(guest.id) == 1 for guest in many)
    browser.click_button("Back", "#connections-pages")
    wait_for_connections(browser, 50)
    filter_connections(browser, account=f"{name}-0")
    wait_for_connections(browser, 2)
    filter_connections(browser, account=f"{name}-0", topic="news")
    wait_for_connections(browser, 1)
    filter_connections(browser, account=f"{name}-0", instance="elsewhere")
    wait_for_connections(browser, 0)
    browser.click_button("All", "#connections-filter")
    wait_for_connections(browser, 50)
    # From the list of rooms to those who are in one.
    assert "60" in room_row(browser, name)
    browser.find(f'[aria-label="60 connections in {name}: show them"]').click()
    browser.click_button("Next", "#connections-pages")
    wait_for_connections(browser, 10)


def test_a_row_stays_what_it_is_with_its_focus_while_others_come_and_go(
    browser: Browser, dev: DevServer, guests: BackgroundClients, name: str
) -> None:
    stays, goes = sorted(guests.connect({"rooms": name}, {"rooms": name}), key=lambda each: each.id)
    open_view(browser, dev.url)
    filter_connections(browser, room=name)
    wait_for_connections(browser, 2)
    browser.run_script("document.querySelector(arguments[0]).mark = 'the same'", ROWS)
    open_dialog(browser, "kick", goes.id)
    browser.send_keys(Keys.ENTER)
    goes.wait_closed()
    wait_for_connections(browser, 1)
    # The focus has gone to the neighbour, not to the page's beginning.
    label = "return document.activeElement.ariaLabel"
    browser.wait_until(
        lambda: browser.run_script(label) == f"Kick connection {stays.id}", "the focus"
    )
    guests.connect(*({"rooms": name} for _ in range(8)))
    wait_for_connections(browser, 9)
    assert browser.run_script(label) == f"Kick connection {stays.id}"
    marked = (
        "return [...document.querySelectorAll(arguments[0])].find((each) => each.mark).innerText"
    )
    assert stays.id in browser.run_script(marked, ROWS)


def test_names_are_text_whatever_they_are(
    browser: Browser, dev: DevServer, guests: BackgroundClients
) -> None:
    guest = guests.connect_one(account=HTML, rooms=f"{HTML}r")
    open_view(browser, dev.url)
    filter_connections(browser, account=HTML)
    (row,) = wait_for_connections(browser, 1)
    assert f"{HTML}r" in row
    open_dialog(browser, "move", guest.id)
    submit_dialog(browser, "move", "Apply", "Account", To=f"{HTML}/2")
    wait_for_command(browser, f"account {HTML} to {HTML}/2")
    open_dialog(browser, "kick", guest.id)
    submit_dialog(browser, "kick", "Disconnect", "Every connection", Reason=HTML)
    assert guest.wait_closed()[0] == 4504
    assert (
        browser.run_script(
            "return document.querySelectorAll('#operations :is(img, i), dialog img').length"
        )
        == 0
    )
    assert browser.run_script("return document.title") == "Push bridge: operations"
