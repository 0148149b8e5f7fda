"""Stale: an instance that is without Kafka for longer than allowed sends its clients elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge


async def test_without_kafka_for_longer_than_allowed_clients_are_told_4004(open_rig: OpenBridge):
    rig = await open_rig(max_stale_seconds=30.0)
    client = await rig.connect_welcomed("account=alice")
    rig.upstream.stale_for = 30.5
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4004,
        4004,
        True,
    )
    assert end.closing_frame["retry_after"] > 0
    assert end.closing_frame["cursor"] == client.welcome["cursor"]


async def test_while_it_is_without_kafka_for_too_long_new_clients_are_told_4004_too(
    open_rig: OpenBridge,
):
    rig = await open_rig(max_stale_seconds=30.0)
    rig.upstream.stale_for = 30.5
    end = await (await rig.connect("account=alice")).wait_closed()
    assert end.code == 4004
    assert end.frames == [end.closing_frame]


async def test_without_kafka_for_no_longer_than_allowed_clients_stay(open_rig: OpenBridge):
    rig = await open_rig(max_stale_seconds=30.0, heartbeat_seconds=0.2)
    client = await rig.connect_welcomed("account=alice")
    rig.upstream.stale_for = 29.5
    for _ in range(2):
        assert (await client.next_of("heartbeat"))["stale"] == 29.5
