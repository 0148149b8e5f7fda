"""Where clients come from: proxies that are believed, and how many may come from one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.auth.client_address import TrustedProxies, client_network
from tests.web.in_process_bridge import HOST, connection_of, wait_until

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.websocket_client import WebSocketClient

TRUSTED = TrustedProxies(["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        # Nobody is believed who is not trusted.
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        # A trusted proxy is, about who called it.
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        # What a client itself put there stands on the left, and is not looked at.
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
        # Several proxies, one behind the other.
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.3,10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        # A way that is all within the trusted networks.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [], "10.0.0.1"),
        # What is no address ends the way.
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, evil\r\nX, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [","], "10.0.0.1"),
        # As proxies write them.
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["[2606:4700::1]:4711"], "2606:4700::1"),
        ("10.0.0.1", ["[2606:4700::1]"], "2606:4700::1"),
        ("10.0.0.1", ["2606:4700:0::0:1"], "2606:4700::1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_a_clients_address_is_the_right_most_that_is_no_proxys(
    peer: str, forwarded: list[str], client: str
) -> None:
    assert TRUSTED.client_address(peer, forwarded) == client


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert TrustedProxies().client_address("127.0.0.1", ["198.51.100.1"]) == "127.0.0.1"


@given(
    st.lists(
        st.lists(
            st.sampled_from(["10.0.0.2", "198.51.100.1", "", "x", "[::1]:1", "::1"])
            | st.text(max_size=8)
        ).map(", ".join)
    )
)
def test_what_a_client_writes_on_the_left_changes_nothing(written: list[str]) -> None:
    assert (
        TRUSTED.client_address("10.0.0.1", [*written, "198.51.100.1, 10.0.0.2"]) == "198.51.100.1"
    )
    TRUSTED.client_address("10.0.0.1", written)


@pytest.mark.parametrize(
    "wrong", ["", "ten", "10.0.0.0/33", "10.0.0", "example.org", "10.0.0.1:80"]
)
def test_what_is_no_network_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        TrustedProxies([wrong])


def test_whoever_has_one_address_of_ipv6_has_a_network_of_them() -> None:
    assert (
        client_network("2001:db8:1:2:3:4:5:6")
        == client_network("2001:db8:1:2::1")
        != client_network("2001:db8:1:3::1")
    )
    assert client_network("198.51.100.1") != client_network("198.51.100.2")
    assert client_network("not an address") == "not an address"


# -- at the door -----------------------------------------------------------------------------------


async def come(rig: InProcessBridge, *forwarded: str, query: str = "") -> WebSocketClient:
    headers = [("X-Forwarded-For", each) for each in forwarded]
    return await rig.connect(query, additional_headers=headers)


async def overloaded(client: WebSocketClient) -> None:
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["reconnect"]) == (4006, True)
    assert "address" in end.closing_frame["reason"]


async def test_one_connection_of_an_address_more_than_allowed_is_told_4006(
    open_rig: OpenBridge,
) -> None:
    rig = await open_rig(max_connections_per_address=2, proxies=TrustedProxies([HOST]))
    first, second = await come(rig, "198.51.100.1"), await come(rig, "9.9.9.9, 198.51.100.1")
    for client in (first, second):
        await client.expect("welcome")
    await overloaded(await come(rig, "198.51.100.1"))
    asks = await come(rig, "198.51.100.1", query="hello=1")
    await asks.send("hello")
    await overloaded(asks)
    await (await come(rig, "198.51.100.2")).expect("welcome")
    await first.connection.close()
    await wait_until(lambda: rig.admission.connection_count == 2)
    await (await come(rig, "198.51.100.1")).expect("welcome")


async def test_a_header_of_one_who_is_not_trusted_opens_no_other_place(
    open_rig: OpenBridge,
) -> None:
    rig = await open_rig(max_connections_per_address=1)
    await (await come(rig, "198.51.100.1")).expect("welcome")
    await overloaded(await come(rig, "198.51.100.2"))


async def test_by_default_as_many_as_like_may_come_from_an_address(rig: InProcessBridge) -> None:
    for _ in range(60):
        await rig.connect_welcomed()
    assert rig.admission._networks == {}


async def test_who_is_refused_takes_no_place_and_who_leaves_gives_it_back(
    open_rig: OpenBridge,
) -> None:
    rig = await open_rig(max_connections_per_address=1)
    for _ in range(3):
        assert (await (await rig.connect("topics=nothing")).wait_closed()).code == 4501
    client = await rig.connect_welcomed()
    assert list(rig.admission._connections_per_network.values()) == [1]
    await client.connection.close()
    await wait_until(lambda: rig.admission.connection_count == 0)
    assert (rig.admission._connections_per_network, rig.admission._networks) == ({}, {})


async def test_a_socket_knows_its_clients_address(open_rig: OpenBridge) -> None:
    rig = await open_rig(proxies=TrustedProxies([HOST]))
    await (await come(rig, "198.51.100.1")).expect("welcome")
    await rig.connect_welcomed("account=bob")
    (bob,) = rig.hub.subscriptions.by_account["bob"]
    others = rig.hub.subscriptions.all_sessions - {bob}
    assert {connection_of(session).address for session in others} == {"198.51.100.1"}
    assert connection_of(bob).address == HOST
