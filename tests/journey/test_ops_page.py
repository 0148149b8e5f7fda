"""The view for operators: a real bridge, a real browser, and clients that are told what it did."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Final

import pytest
from selenium.webdriver.common.keys import Keys

from tests.cli.command import Command
from tests.cli.conftest import Dev, running_dev
from tests.journey.browser import Browser, browsing
from tests.journey.guests import Guests
from tests.journey.ops_desk import ROWS, answer, ask, look, obeyed, show, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

HTML: Final = '<img src=x onerror="document.title=1"><b>bold</b>'
INSTANCE: Final = "ops-1"
AT: Final = re.compile(r"push-bridge\.control:\d+:\d+")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One bridge for all tests: each has accounts and rooms of its own."""
    settings = {"TOPICS": '["orders", "news"]', "PORT": "0", "INSTANCE": INSTANCE}
    with Command(tmp_path_factory.mktemp("dev"), "dev", "--demo", **settings) as command:
        yield running_dev(command)


@pytest.fixture
def guests(dev: Dev) -> Iterator[Guests]:
    with Guests(dev.url) as guests:
        yield guests


@pytest.fixture
def name() -> str:
    """What no other test calls anything."""
    return f"n-{uuid.uuid4().hex[:8]}"


def room_row(browser: Browser, room: str) -> str:
    """What the list says of a room."""
    browser.write("Name or title has", room, "#rooms-filter")
    browser.press("Find", "#rooms-filter")
    return browser.sees("#room-list tbody tr", room)


def test_an_operator_sees_instances_feeds_rooms_connections_and_rates(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    first, second = guests.come(
        {"account": name, "rooms": f"{name}:1", "topics": "orders"}, {"rooms": f"{name}:1"}
    )
    look(browser, dev.url)
    instance = browser.sees("#instances tbody tr", INSTANCE)
    assert "this one" in instance
    assert "ready" in instance
    assert re.search(r"\d+ s\s+\d+ s ago\s+2\s", instance), instance
    feed = browser.sees("#feeds tbody tr", "orders")
    assert "reading" in feed
    browser.sees("#connected", "2")
    rows = shown(browser, 2)
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
    browser.press("Close", "#feed")

    # The demo's events, one a second, are read; what was read was for somebody.
    browser.until(lambda: re.match(r"[\d.]+ ?/s", rate(browser, "Events read")), "a rate")
    browser.until(lambda: float(rate(browser, "Events read").split("/")[0]) > 0, "events")
    browser.until(lambda: line(browser, "Routed").count("L") > 1, "a line")
    assert rate(browser, "Connections").startswith("2")
    assert browser.complaints() == []


def rate(browser: Browser, name: str) -> str:
    (said,) = browser.texts(f'[data-rate="{name}"] .rate')
    return said.replace("\n", "")


def line(browser: Browser, name: str) -> str:
    drawn: str = browser.ask(
        "return document.querySelector(arguments[0]).getAttribute('d')",
        f'[data-rate="{name}"] path',
    )
    return drawn


def test_who_is_kicked_is_told_why_and_goes_from_the_list(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    one, other = guests.come({"account": name}, {"account": name})
    look(browser, dev.url)
    show(browser, account=name)
    shown(browser, 2)
    ask(browser, "kick", one.id)
    browser.press("Cancel", "#kick")
    ask(browser, "kick", one.id)
    answer(browser, "kick", "Disconnect", Reason="too loud")
    assert one.waits_for_the_end() == (4504, "disconnected by the backend: too loud")
    assert AT.search(obeyed(browser, one.id))
    (left,) = shown(browser, 1)
    assert other.id in left
    assert other.closed is None


def test_a_whole_account_is_kicked_and_nobody_else(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    one, other, apart = guests.come(*({"account": each} for each in (name, name, f"{name}x")))
    look(browser, dev.url)
    show(browser, account=name)
    shown(browser, 2)
    ask(browser, "kick", one.id)
    answer(browser, "kick", "Disconnect", "Every connection")
    assert {one.waits_for_the_end()[0], other.waits_for_the_end()[0]} == {4504}
    obeyed(browser, f"Kick account {name}")
    browser.sees("#connections-none", "Nobody")
    assert apart.closed is None


def test_a_connection_is_put_into_a_room_moved_and_taken_out(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    guest = guests.one(account=name)
    one, other = f"{name}/1", f"{name}:2 %"
    look(browser, dev.url)
    show(browser, account=name)
    ask(browser, "move", guest.id)
    answer(browser, "move", "Do it", Into=one)
    guest.waits_for("rooms", joined=[one], left=[])
    assert AT.search(obeyed(browser, f"into {one}"))
    browser.sees(ROWS, one)

    ask(browser, "move", guest.id)
    browser.sees("#move-in", f"In: {one}")
    answer(browser, "move", "Do it", "Move from", Out_of=one, Into=other)
    guest.waits_for("rooms", joined=[other], left=[])
    guest.waits_for("rooms", joined=[], left=[one])
    obeyed(browser, f"out of {one}")
    browser.sees(ROWS, other)

    ask(browser, "move", guest.id)
    answer(browser, "move", "Do it", "Take out", Out_of=other)
    guest.waits_for("rooms", joined=[], left=[other])


def test_an_account_is_put_into_a_room_for_good_and_a_room_is_given_a_title(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    guest = guests.one(account=name)
    room = f"{name}:r"
    look(browser, dev.url)
    show(browser, account=name)
    ask(browser, "move", guest.id)
    answer(browser, "move", "Do it", "Account", Into=room)
    guest.waits_for("rooms", joined=[room], left=[])
    obeyed(browser, f"account {name} into {room}")

    room_row(browser, room)
    browser.find(f'[aria-label="Open {room}"]').click()
    browser.sees("#members tbody tr", name)
    browser.write("Title", "The first", "#room")
    browser.press("Set", "#room")
    assert AT.search(obeyed(browser, f"Call {room}"))
    browser.sees("#room-list tbody tr", "The first")
    browser.write("Account to put in", f"{name}x", "#room")
    browser.press("Put in", "#room")
    browser.sees("#members tbody tr", f"{name}x")
    browser.find(f'[aria-label="Take {name} out"]').click()
    guest.waits_for("rooms", joined=[], left=[room])
    browser.until(lambda: len(browser.texts("#members tbody tr")) == 1, "one member")
    browser.write("Name or title has", "the FIRST", "#rooms-filter")
    browser.press("Find", "#rooms-filter")
    browser.until(lambda: len(browser.texts("#room-list tbody tr")) == 1, "what was found")
    browser.press("Close", "#room")


def test_what_is_refused_is_said_where_it_was_asked_for(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    guest = guests.one(account=name)
    look(browser, dev.url)
    show(browser, account="a*b")
    assert "Change what was typed" in browser.sees("#connections-error", "422")
    show(browser, account=name)
    browser.until(lambda: browser.texts("#connections-error") == [""], "no error")
    for wrong, why in (("a*b", "422"), ("..", "a browser can not")):
        ask(browser, "move", guest.id)
        browser.write("Into", wrong, "#move")
        browser.press("Do it", "#move")
        browser.sees("#move-refused", why)
        browser.press("Cancel", "#move")
    assert guest.closed is None
    assert [frame["op"] for frame in guest.frames if frame["op"] == "rooms"] == []


def test_connections_are_filtered_and_turned_page_by_page(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    many = guests.come(
        *({"account": f"{name}-{n}", "rooms": name, "topics": "orders"} for n in range(60))
    )
    guests.come({"account": f"{name}-0", "topics": "news"})
    look(browser, dev.url)
    show(browser, room=name)
    rooms = "#connections td[data-head=Rooms]"
    browser.until(lambda: {*browser.texts(rooms)} == {name}, "those in the room only")
    first = shown(browser, 50)
    browser.press("Next", "#connections-pages")
    second = shown(browser, 10)
    told = "\n".join([*first, *second])
    assert all(told.count(guest.id) == 1 for guest in many)
    browser.press("Back", "#connections-pages")
    shown(browser, 50)
    show(browser, account=f"{name}-0")
    shown(browser, 2)
    show(browser, account=f"{name}-0", topic="news")
    shown(browser, 1)
    show(browser, account=f"{name}-0", instance="elsewhere")
    shown(browser, 0)
    browser.press("All", "#connections-filter")
    shown(browser, 50)
    # From the list of rooms to those who are in one.
    assert "60" in room_row(browser, name)
    browser.find(f'[aria-label="60 connections in {name}: show them"]').click()
    browser.press("Next", "#connections-pages")
    shown(browser, 10)


def test_a_row_stays_what_it_is_with_its_focus_while_others_come_and_go(
    browser: Browser, dev: Dev, guests: Guests, name: str
) -> None:
    stays, goes = sorted(guests.come({"rooms": name}, {"rooms": name}), key=lambda each: each.id)
    look(browser, dev.url)
    show(browser, room=name)
    shown(browser, 2)
    browser.ask("document.querySelector(arguments[0]).mark = 'the same'", ROWS)
    ask(browser, "kick", goes.id)
    browser.type(Keys.ENTER)
    goes.waits_for_the_end()
    shown(browser, 1)
    # The focus has gone to the neighbour, not to the page's beginning.
    label = "return document.activeElement.ariaLabel"
    browser.until(lambda: browser.ask(label) == f"Kick connection {stays.id}", "the focus")
    guests.come(*({"rooms": name} for _ in range(8)))
    shown(browser, 9)
    assert browser.ask(label) == f"Kick connection {stays.id}"
    marked = (
        "return [...document.querySelectorAll(arguments[0])].find((each) => each.mark).innerText"
    )
    assert stays.id in browser.ask(marked, ROWS)


def test_names_are_text_whatever_they_are(browser: Browser, dev: Dev, guests: Guests) -> None:
    guest = guests.one(account=HTML, rooms=f"{HTML}r")
    look(browser, dev.url)
    show(browser, account=HTML)
    (row,) = shown(browser, 1)
    assert f"{HTML}r" in row
    ask(browser, "move", guest.id)
    answer(browser, "move", "Do it", "Account", Into=f"{HTML}/2")
    obeyed(browser, f"account {HTML} into {HTML}/2")
    ask(browser, "kick", guest.id)
    answer(browser, "kick", "Disconnect", "Every connection", Reason=HTML)
    assert guest.waits_for_the_end()[0] == 4504
    assert (
        browser.ask(
            "return document.querySelectorAll('#operations :is(img, i), dialog img').length"
        )
        == 0
    )
    assert browser.ask("return document.title") == "Push bridge: operations"
