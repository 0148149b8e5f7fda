"""How many may come, and how fast: the others are asked to come later, with 4006."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.frames import Hello
from bridge.core.sessions.permissions import unrestricted
from bridge.web.auth.authenticator import AuthRefused
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.websocket_client import ConnectionClose


async def overloaded(rig: InProcessBridge, query: str = "") -> ConnectionClose:
    end = await (await rig.connect(query)).wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4006,
        4006,
        True,
    )
    assert end.closing_frame["retry_after"] > 0
    assert end.frames == [end.closing_frame], "a client that is refused gets no welcome"
    return end


async def test_before_an_instance_was_ever_ready_clients_are_told_4006(rig):
    rig.upstream.reports_ready = False
    await overloaded(rig)
    await overloaded(rig, "hello=1")
    rig.upstream.reports_ready = True
    await rig.connect_welcomed()


async def test_in_a_later_outage_clients_are_accepted(rig):
    rig.upstream.stale_for = 3600.0
    await (await rig.connect_welcomed()).send("heartbeat")


async def test_one_connection_more_than_allowed_is_told_4006(open_rig: OpenBridge):
    rig = await open_rig(max_connections=2)
    first, _second = await rig.connect_welcomed(), await rig.connect_welcomed("account=alice")
    await overloaded(rig)
    await overloaded(rig, "account=bob")
    await first.connection.close()
    await wait_until(lambda: rig.admission.connection_count == 1)
    await rig.connect_welcomed()


async def test_one_connection_of_an_account_more_than_allowed_is_told_4006(open_rig: OpenBridge):
    rig = await open_rig(max_connections_per_account=2)
    first, _second = (
        await rig.connect_welcomed("account=alice"),
        await rig.connect_welcomed("account=alice"),
    )
    await overloaded(rig, "account=alice")
    await rig.connect_welcomed("account=bob")
    for _ in range(3):
        await rig.connect_welcomed()
    await first.connection.close()
    await wait_until(lambda: len(rig.hub.subscriptions.by_account["alice"]) == 1)
    await rig.connect_welcomed("account=alice")


async def test_a_refused_client_takes_nobodys_place(open_rig: OpenBridge):
    rig = await open_rig(max_connections=1, max_connections_per_account=1)
    for _ in range(3):
        assert (await (await rig.connect("topics=none&account=a")).wait_closed()).code == 4501
    assert rig.admission.connection_count == 0
    client = await rig.connect_welcomed("account=a")
    await client.connection.close()
    await wait_until(lambda: rig.admission.connection_count == 0)
    assert rig.admission._connections_per_account == {}


async def test_more_handshakes_in_a_second_than_allowed_are_told_4006(open_rig: OpenBridge):
    rig = await open_rig(max_handshakes_per_second=3)
    rig.admission.check_rate(100.0)  # far behind the loop's clock, or far before it
    ends = 0
    for _ in range(50):
        client = await rig.connect()
        if (await client.frame())["op"] == "closing":
            assert (await client.wait_closed()).code == 4006
            ends += 1
            break
    assert ends == 1


async def test_the_allowance_of_handshakes_comes_back_with_time(open_rig: OpenBridge):
    rig = await open_rig(max_handshakes_per_second=3)
    now = 1e9

    def let_in(at: float) -> int:
        count = 0
        with contextlib.suppress(AuthRefused):
            while count < 100:
                rig.admission.check_rate(at)
                count += 1
        return count

    assert let_in(now) == 3
    assert let_in(now) == 0
    assert let_in(now + 1 / 3 + 0.001) == 1
    assert let_in(now + 1000) == 3


async def test_who_is_told_to_come_later_for_another_reason_uses_up_no_allowance(
    open_rig: OpenBridge,
):
    rig = await open_rig(max_handshakes_per_second=1)
    rig.upstream.reports_ready = False
    for _ in range(5):
        with pytest.raises(AuthRefused, match="caught up"):
            rig.admission.check_rate(1e9)
    rig.upstream.reports_ready = True
    rig.admission.check_rate(1e9)


async def test_what_is_counted_at_the_entrance_is_given_back_by_leaving(rig):
    hello = Hello(account="alice", topics=["orders"])
    session = rig.admission.admit(unrestricted("alice"), rig.admission.parse(hello), bytes, None)
    assert (rig.admission.connection_count, rig.admission._connections_per_account) == (
        1,
        {"alice": 1},
    )
    rig.admission.release(session)
    assert (rig.admission.connection_count, rig.admission._connections_per_account) == (0, {})
