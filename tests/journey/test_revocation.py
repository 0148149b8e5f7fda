"""A revoked token is worth nothing: its sockets are closed on every instance, and it opens none.

On a real broker with two instances. `-s` shows how long a revocation takes.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.ports import HOST
from tests.journey.bridge_group import BridgeGroup
from tests.web.token_signing import SECRET, sign_token
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]
EACH = 20


def token(account: str, age: float) -> str:
    """A token that was issued so many seconds ago."""
    return sign_token(sub=account, iat=int(time.time() - age))


async def refusal(fleet: BridgeGroup, bridge: int, credential: str) -> Any:
    async with WebSocketClient(f"{fleet.bridges[bridge].url}?token={credential}") as client:
        return (await client.wait_closed()).closing_frame


async def test_a_revoked_token_is_refused_on_all_instances_and_its_sockets_closed(
    kafka: KafkaCluster,
) -> None:
    settings = {"AUTH__MODE": "jwt", "AUTH__SECRET": SECRET, "HEARTBEAT_SECONDS": "1"}
    async with (
        BridgeGroup(kafka.bootstrap, ["one", "two"], **settings) as fleet,
        AsyncExitStack() as all,
    ):
        old = token("mallory", 60)
        there = [
            await all.enter_async_context(fleet.client(bridge, token=old))
            for bridge in (0, 1)
            for _ in range(EACH)
        ]
        ann = await all.enter_async_context(fleet.client(1, token=token("ann", 60)))
        now = asyncio.get_running_loop().time

        async def closed(client: WebSocketClient) -> tuple[int, float]:
            end = await client.wait_closed()
            return end.code, now()

        closing = [asyncio.ensure_future(closed(client)) for client in there]
        called = now()
        await fleet.send_command(0, "POST", "accounts", "mallory", "revoke")
        answered = now()
        ends = await asyncio.gather(*closing)
        assert {code for code, _ in ends} == {4005}
        last = max(at for _, at in ends)
        print(  # noqa: T201 - for `-s`
            f"{len(ends)} sockets closed {(last - called) * 1000:.1f} ms after the call,"
            f" which was answered after {(answered - called) * 1000:.1f} ms"
        )
        await ann.next_of("heartbeat")
        for bridge in 0, 1:
            told = await refusal(fleet, bridge, old)
            assert (told["code"], told["reconnect"]) == (4500, False)
            assert "revoked" in told["reason"]
            address = f"http://{HOST}:{fleet.bridges[bridge].port}/history"
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(address, headers={"Authorization": f"Bearer {old}"})
            assert answer.status_code == 401
        await fleet.bridges[1].terminate()
        fleet.bridges[1].start()
        await fleet.bridges[1].wait_ready()
        assert (await refusal(fleet, 1, old))["code"] == 4500
        async with fleet.client(1, token=token("mallory", -2)) as anew:
            assert anew.welcome["account"] == "mallory"
            await anew.send("token", token=old, id="the old one again")
            reply = await anew.next_of("reply")
            assert (reply["ok"], reply["error"]) == (False, "bad_token")
