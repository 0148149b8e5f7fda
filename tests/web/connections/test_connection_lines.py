"""Who connects is logged, and what they are sent is not."""

from __future__ import annotations

import logging

import httpx
import pytest

from tests.web.in_process_bridge import wait_until
from tests.web.raw_connection import frame_bytes

PAYLOAD = "secret-payload"


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_websocket_has_a_line_at_its_start_and_one_at_its_end(rig, caplog):
    client = await rig.open_websocket("account=alice&token=tok-1")
    rig.publish(accounts=["alice"], data=PAYLOAD)
    rig.publish(accounts=["alice"], data=PAYLOAD)
    client.send(frame_bytes((1000).to_bytes(2, "big"), 0x8))
    await wait_until(lambda: len(rig.pool) == 0)
    opened, closed = [line for line in caplog.messages if line.startswith("a client ")]
    assert opened.endswith("account=alice transport=websocket address=127.0.0.1")
    assert closed.endswith("code=1000 delivered=2")
    assert PAYLOAD not in caplog.text
    assert "tok-1" not in caplog.text


async def test_an_event_stream_has_a_line_at_its_start_and_one_at_its_end(rig, caplog):
    raw = await rig.open_tcp()
    raw.send(b"GET /events?account=bob&token=tok-1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await wait_until(lambda: len(rig.pool) == 1)
    rig.publish(accounts=["bob"], data=PAYLOAD)
    raw.abort()
    await wait_until(lambda: len(rig.pool) == 0)
    opened, closed = [line for line in caplog.messages if line.startswith("a client ")]
    assert opened.endswith("account=bob transport=sse address=127.0.0.1")
    assert closed.endswith("code=1006 delivered=1")
    assert PAYLOAD not in caplog.text
    assert "tok-1" not in caplog.text


async def test_who_is_refused_has_no_line(rig, caplog):
    rig.admission.is_draining = True
    assert (await (await rig.connect()).wait_closed()).code == 4001
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False) as http:
        assert (await http.get("/events")).status_code == 503
    assert not [line for line in caplog.messages if line.startswith("a client ")]


async def test_the_end_of_a_drain_writes_the_counts_of_a_storm(rig, caplog, monkeypatch):
    monkeypatch.setattr(rig.admission.connection_log._bucket, "acquire", lambda *_: 1.0)
    client = await rig.connect_welcomed()
    rig.server.should_exit = True
    assert (await client.wait_closed()).code == 4001
    await wait_until(rig.serve_task.done)
    (line,) = [line for line in caplog.messages if line.startswith("more clients")]
    assert 'connected=1 disconnected=1 codes={"4001":1}' in line
