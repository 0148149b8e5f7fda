"""How many may come, and how fast: the others are asked to come later, with 4006."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.frames import Hello
from bridge.web.auth.authenticator import Refused
from tests.web.rig import until

if TYPE_CHECKING:
    from tests.web.client import End
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig


async def overloaded(rig: Rig, query: str = "") -> End:
    end = await (await rig.connect(query)).end()
    assert (end.code, end.closing["code"], end.closing["reconnect"]) == (4006, 4006, True)
    assert end.closing["retry_after"] > 0
    assert end.frames == [end.closing], "a client that is refused gets no welcome"
    return end


async def test_before_an_instance_was_ever_ready_clients_are_told_4006(rig):
    rig.upstream.is_ready = False
    await overloaded(rig)
    await overloaded(rig, "hello=1")
    rig.upstream.is_ready = True
    await rig.join()


async def test_in_a_later_outage_clients_are_accepted(rig):
    rig.upstream.stale_for = 3600.0
    await (await rig.join()).say("heartbeat")


async def test_one_connection_more_than_allowed_is_told_4006(open_rig: OpenRig):
    rig = await open_rig(connections=2)
    first, _second = await rig.join(), await rig.join("account=alice")
    await overloaded(rig)
    await overloaded(rig, "account=bob")
    await first.connection.close()
    await until(lambda: rig.entrance.count == 1)
    await rig.join()


async def test_one_connection_of_an_account_more_than_allowed_is_told_4006(open_rig: OpenRig):
    rig = await open_rig(per_account=2)
    first, _second = await rig.join("account=alice"), await rig.join("account=alice")
    await overloaded(rig, "account=alice")
    await rig.join("account=bob")
    for _ in range(3):
        await rig.join()
    await first.connection.close()
    await until(lambda: len(rig.hub.interest.accounts["alice"]) == 1)
    await rig.join("account=alice")


async def test_a_refused_client_takes_nobodys_place(open_rig: OpenRig):
    rig = await open_rig(connections=1, per_account=1)
    for _ in range(3):
        assert (await (await rig.connect("topics=none&account=a")).end()).code == 4501
    assert rig.entrance.count == 0
    client = await rig.join("account=a")
    await client.connection.close()
    await until(lambda: rig.entrance.count == 0)
    assert rig.entrance._per_account == {}


async def test_more_handshakes_in_a_second_than_allowed_are_told_4006(open_rig: OpenRig):
    rig = await open_rig(handshakes_per_second=3)
    rig.entrance.knock(100.0)  # far behind the loop's clock, or far before it
    ends = 0
    for _ in range(50):
        client = await rig.connect()
        if (await client.frame())["op"] == "closing":
            assert (await client.end()).code == 4006
            ends += 1
            break
    assert ends == 1


async def test_the_allowance_of_handshakes_comes_back_with_time(open_rig: OpenRig):
    rig = await open_rig(handshakes_per_second=3)
    now = 1e9

    def let_in(at: float) -> int:
        count = 0
        with contextlib.suppress(Refused):
            while count < 100:
                rig.entrance.knock(at)
                count += 1
        return count

    assert let_in(now) == 3
    assert let_in(now) == 0
    assert let_in(now + 1 / 3 + 0.001) == 1
    assert let_in(now + 1000) == 3


async def test_who_is_told_to_come_later_for_another_reason_uses_up_no_allowance(
    open_rig: OpenRig,
):
    rig = await open_rig(handshakes_per_second=1)
    rig.upstream.is_ready = False
    for _ in range(5):
        with pytest.raises(Refused, match="caught up"):
            rig.entrance.knock(1e9)
    rig.upstream.is_ready = True
    rig.entrance.knock(1e9)


async def test_what_is_counted_at_the_entrance_is_given_back_by_leaving(rig):
    hello = Hello(account="alice", topics=["orders"])
    session = rig.entrance.admit(hello, rig.entrance.wish(hello), bytes, None)
    assert (rig.entrance.count, rig.entrance._per_account) == (1, {"alice": 1})
    rig.entrance.leave(session)
    assert (rig.entrance.count, rig.entrance._per_account) == (0, {})
