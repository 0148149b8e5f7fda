"""A line when a connection opens and one when it closes, and never a flood of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol import close_codes
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import Session
from bridge.web.http.connection_log import LINES_PER_SECOND, SUMMARY_SECONDS, ConnectionLog

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """The clock and the timers of a test."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def now(self) -> float:
        return self.seconds

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.seconds + delay, callback))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock, caplog: pytest.LogCaptureFixture) -> ConnectionLog:
    caplog.set_level(logging.INFO)
    return ConnectionLog(clock.now, clock.call_later)


def session(account: str | None = "alice", number: int = 1) -> Session:
    made = Session(f"id-{number}", Permissions(account), bytes)
    made.client_address = "192.0.2.7"
    return made


def test_a_line_when_a_connection_opens_and_one_when_it_closes(log, clock, caplog):
    client = session()
    log.log_opened(client)
    client.delivered_count = 17
    client.client_close_code = 1001
    clock.seconds += 2.5
    log.log_closed(client)
    common = "connection=id-1 account=alice transport=none address=192.0.2.7"
    assert caplog.messages == [
        f"a client connected {common}",
        f"a client disconnected {common} seconds=2.5 code=1001 delivered=17",
    ]
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert caplog.records[1].fields == {
        "connection": "id-1",
        "account": "alice",
        "transport": "none",
        "address": "192.0.2.7",
        "seconds": 2.5,
        "code": 1001,
        "delivered": 17,
    }


def test_the_bridges_own_close_code_wins_over_the_clients(log, caplog):
    client = session()
    log.log_opened(client)
    client.close_code, client.client_close_code = close_codes.SLOW, 1000
    log.log_closed(client)
    assert "code=4002" in caplog.messages[-1]


def test_a_client_that_was_never_welcomed_has_no_line(log, caplog):
    log.log_closed(session())
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("account", "text"),
    [
        (None, "account=null"),
        ("a b", 'account="a b"'),
        ('x" code=1', r'account="x\" code=1"'),
        ("a=1", 'account="a=1"'),
        ("é", r'account="\u00e9"'),
        ("x\n2026 forged", r'account="x\n2026 forged"'),
    ],
)
def test_no_account_forges_a_field_or_a_line(log, caplog, account, text):
    log.log_opened(session(account))
    assert f" {text} transport=" in caplog.messages[0]


def test_a_storm_writes_a_bounded_number_of_lines_and_then_the_counts(log, clock, caplog):
    clients = [session(number=number) for number in range(10_000)]
    for client in clients:
        log.log_opened(client)
    assert len(caplog.messages) == LINES_PER_SECOND
    for client in clients:
        client.delivered_count = 2
        client.client_close_code = 1006
        log.log_closed(client)
    assert len(caplog.messages) == LINES_PER_SECOND
    ((at, write),) = clock.timers
    assert at == 1_000.0 + SUMMARY_SECONDS
    clock.seconds = at
    write()
    assert caplog.messages[-1] == (
        "more clients connected or disconnected than there are lines for connected=9800"
        ' disconnected=10000 codes={"1006":10000} delivered=20000 seconds=60'
    )


def test_after_a_storm_each_connection_has_its_line_again(log, clock, caplog):
    for number in range(LINES_PER_SECOND + 1):
        log.log_opened(session(number=number))
    clock.timers.pop()[1]()
    clock.seconds += 1.0
    log.log_opened(session("bob"))
    assert "account=bob" in caplog.messages[-1]
    for number in range(LINES_PER_SECOND):
        log.log_opened(session(number=number))
    assert len(clock.timers) == 1, "the next storm has its own summary"


def test_without_a_storm_there_is_no_summary(log, caplog):
    log.log_summary()
    assert caplog.messages == []


def test_above_info_nothing_is_counted_or_written(log, clock, caplog):
    caplog.set_level(logging.WARNING)
    for number in range(1_000):
        log.log_opened(session(number=number))
    assert (caplog.messages, clock.timers) == ([], [])


async def test_the_timer_is_the_event_loops_by_default(monkeypatch: Any):
    log = ConnectionLog(lambda: 0.0)
    logging.getLogger("bridge.web.http.connection_log").setLevel(logging.INFO)
    monkeypatch.setattr("bridge.web.http.connection_log.SUMMARY_SECONDS", 0.0)
    written: list[str] = []
    monkeypatch.setattr(log, "log_summary", lambda: written.append("written"))
    for number in range(LINES_PER_SECOND + 1):
        log.log_opened(session(number=number))
    await asyncio.sleep(0.01)
    assert written == ["written"]
