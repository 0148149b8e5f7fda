"""A record's trace in the frames of clients: live, over an event stream, and after a return."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.core.strategies import TRACEPARENT
from tests.web.sse_client import open_welcomed_stream

if TYPE_CHECKING:
    from tests.web.in_process_bridge import InProcessBridge

ALICE = {"account": "alice", "topics": "orders"}
TRACED = ("traceparent", TRACEPARENT.encode())
#: A value, and the headers that address it where it does not do so itself.
RECORDS = pytest.mark.parametrize(
    ("value", "addressed"),
    [
        (b'{"accounts": ["alice"]}', []),
        (b"\xff", [("push-accounts", b"alice")]),
        (None, [("push-accounts", b"alice")]),
    ],
)


def put_in(
    rig: InProcessBridge, value: bytes | None, addressed: list[tuple[str, bytes | None]]
) -> None:
    """Put in a record with a trace, and one like it without."""
    rig.publish_record(value, headers=[*addressed, TRACED])
    rig.publish_record(value, headers=addressed)


@RECORDS
async def test_a_trace_comes_live(rig, value, addressed):
    client = await rig.connect_welcomed(urlencode(ALICE))
    put_in(rig, value, addressed)
    assert (await client.expect("event"))["traceparent"] == TRACEPARENT
    assert "traceparent" not in await client.expect("event")


@RECORDS
async def test_a_trace_comes_over_an_event_stream(rig, value, addressed):
    listener = await open_welcomed_stream(rig, urlencode(ALICE))
    put_in(rig, value, addressed)
    assert (await listener.expect("event"))["traceparent"] == TRACEPARENT
    assert "traceparent" not in await listener.expect("event")


@RECORDS
async def test_a_trace_comes_out_of_the_journal(rig, value, addressed):
    left = await rig.connect_welcomed(urlencode(ALICE))
    left.connection.transport.abort()
    put_in(rig, value, addressed)
    client = await rig.connect_welcomed(urlencode({**ALICE, "cursor": left.welcome["cursor"]}))
    assert (await client.expect("event"))["traceparent"] == TRACEPARENT
    assert "traceparent" not in await client.expect("event")
    assert (await client.expect("live"))["replayed"] == 2
