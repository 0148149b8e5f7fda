"""What strangers can cause is logged by count and minute."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from bridge.web.auth import origins
from bridge.web.http import counted_log
from bridge.web.http.counted_log import CountedLog
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from tests.web.in_process_bridge import InProcessBridge

_log = logging.getLogger("counted")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_of_many_lines_of_a_kind_one_is_logged_in_a_minute_and_then_their_count(caplog):
    clock = Clock()
    counted = CountedLog(_log, clock)
    for number in range(500):
        counted.warning("refused address=%s", number)
    assert caplog.messages == ["refused address=0"]
    clock.now += 60
    counted.warning("refused address=%s", "next")
    assert caplog.messages[1:] == [
        "refused address=499 more_of_this_kind=499 seconds=60",
        "refused address=next",
    ]


def test_each_kind_and_each_minute_has_its_line(caplog):
    clock = Clock()
    counted = CountedLog(_log, clock)
    counted.warning("one")
    counted.log(logging.ERROR, "another")
    clock.now += 60
    counted.warning("one")
    assert caplog.messages == ["one", "another", "one"]
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR", "WARNING"]


async def test_the_count_is_logged_at_the_end_of_the_minute_though_nothing_more_comes(
    caplog, monkeypatch
):
    monkeypatch.setattr(counted_log, "MINUTE_SECONDS", 0.05)
    counted = CountedLog(_log, lambda: 0.0)
    for _ in range(3):
        counted.warning("refused")
    await wait_until(lambda: len(caplog.messages) == 2)
    assert caplog.messages[1].startswith("refused more_of_this_kind=2 ")
    counted.warning("refused")
    assert caplog.messages[2:] == ["refused"]


@pytest.fixture
def _fresh_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have caused."""
    monkeypatch.setattr(origins, "_refusals", CountedLog(origins._refusals._logger))


async def send_and_leave(rig: InProcessBridge, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
    writer.write(data)
    with contextlib.suppress(ConnectionError):
        await reader.read(1 << 16)
    writer.transport.abort()


GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.usefixtures("_fresh_counts")
@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        GET + b"Content-Length: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        GET + b"Connection: close, upgrade\r\nUpgrade: foo\r\n\r\n",
        GET.replace(b"/healthz", b"/ws") + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        GET.replace(b"/healthz", b"/ws?x=1") + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        GET.replace(b"/healthz", b"/events") + b"Origin: http://other\r\nConnection: close\r\n\r\n",
    ],
    ids=["no HTTP", "TLS", "a length", "a chunk", "an upgrade", "a key", "a query", "an origin"],
)
async def test_500_bad_requests_do_not_write_500_lines(rig, caplog, data):
    for _ in range(5):
        await asyncio.gather(*(send_and_leave(rig, data) for _ in range(20)))
    assert len(caplog.records) <= 2


@pytest.mark.usefixtures("_fresh_counts")
async def test_a_refused_origin_is_logged_once_with_the_setting_that_would_let_it_in(rig, caplog):
    for _ in range(3):
        raw = await rig.open_tcp()
        assert (await raw.upgrade(Origin="http://localhost:5173")).status == 403
    (line,) = caplog.messages
    assert "BRIDGE_ALLOWED_ORIGINS" in line
    assert "origin='http://localhost:5173'" in line


@pytest.mark.usefixtures("_fresh_counts")
async def test_what_a_refused_page_sends_cannot_forge_a_line(rig, caplog):
    raw = await rig.open_tcp()
    assert (await raw.upgrade(Origin="http://\xa0\x85" + "x" * 2000)).status in {400, 403}
    assert all(line.isascii() and len(line) < 700 for line in caplog.messages)
