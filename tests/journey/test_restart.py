"""What backends have decided for good outlives every instance, and Kafka's memory of the commands.

On a real broker: 20,000 durable memberships and 5,000 titled rooms. `-s` shows what they cost.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, delete_records, produce
from tests.journey.bridge_group import BridgeGroup

if TYPE_CHECKING:
    from tests.harness.bridge_process import BridgeProcess
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
ROOMS, ACCOUNTS_EACH = 5_000, 4
COMMANDS = ROOMS * ACCOUNTS_EACH + ROOMS


def account(room: int, which: int) -> str:
    """Each account is in two rooms."""
    return f"account-{(room * ACCOUNTS_EACH + which) % (ROOMS * ACCOUNTS_EACH // 2)}"


def commands() -> list[RecordToProduce]:
    said = [
        {"do": "join", "room": f"room-{room}", "account": account(room, which)}
        for room in range(ROOMS)
        for which in range(ACCOUNTS_EACH)
    ]
    said += [{"do": "title", "room": f"room-{n}", "title": f"Room {n}"} for n in range(ROOMS)]
    return [RecordToProduce(json.dumps(each).encode()) for each in said]


def memory_mb(bridge: BridgeProcess) -> float:
    lines = Path(f"/proc/{bridge.pid}/status").read_text().splitlines()
    (resident,) = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(resident) / 1024


async def started(bridge: BridgeProcess) -> float:
    """Start it; return the seconds until it is ready."""
    now = asyncio.get_running_loop().time
    began = now()
    bridge.start()
    await bridge.wait_ready()
    return now() - began


async def test_memberships_and_titles_are_there_after_a_restart_of_all(kafka: KafkaCluster) -> None:
    async with (
        BridgeGroup(kafka.bootstrap, ["one", "two"]) as fleet,
        fleet.follow_topic("state") as state,
    ):
        one, two = fleet.bridges
        await two.terminate()
        seconds, memory = await started(two), memory_mb(two)
        figures = [f"without: ready after {seconds:.2f} s, {memory:.1f} MB"]
        control = f"{fleet.prefix}.control"
        await produce(fleet.bootstrap, control, commands())
        await state.wait_until(
            lambda: any(
                each.key == "folded" and json.loads(each.value)["offset"] == COMMANDS
                for each in state.records[-10:]
            )
        )
        await delete_records(fleet.bootstrap, control, 0, COMMANDS)
        for bridge in one, two:
            await bridge.terminate()
        for bridge in one, two:
            seconds = await started(bridge)
            figures.append(f"with: ready after {seconds:.2f} s, {memory_mb(bridge):.1f} MB")
        print("; ".join(figures))  # noqa: T201 - for `-s`
        for room in 0, ROOMS // 2, ROOMS - 1:
            told = await fleet.get(0, "rooms", f"room-{room}")
            assert told["title"] == f"Room {room}"
            assert told["members"] == sorted(account(room, n) for n in range(ACCOUNTS_EACH))
            rooms = (await fleet.get(1, "accounts", account(room, 0)))["rooms"]
            async with fleet.client(1, account=account(room, 0)) as client:
                assert client.welcome["rooms"] == rooms
                assert f"room-{room}" in rooms
                await fleet.publish(rooms=[f"room-{room}"], data=room)
                assert (await client.next_of("event"))["data"] == room


async def test_a_drain_by_command_ends_one_instance_in_order(kafka: KafkaCluster) -> None:
    async with (
        BridgeGroup(kafka.bootstrap, ["one", "two"]) as fleet,
        fleet.follow_topic("lifecycle") as lifecycle,
        fleet.client(0, account="ann") as ann,
        fleet.client(1, account="bob") as bob,
    ):
        await lifecycle.wait_until(lambda: len(lifecycle.notices("connected")) == 2)
        await fleet.produce_command(do="drain", instance="one")
        assert (await ann.wait_closed()).code == 4001
        assert await fleet.bridges[0].wait_exit() == 0
        await lifecycle.wait_until(lambda: bool(lifecycle.notices("disconnected", code=4001)))
        await fleet.wait_for(1, ["instances"], lambda page: len(page["items"]) == 1)
        await fleet.publish(all=True, data=1)
        assert (await bob.next_of("event"))["data"] == 1
        fleet.bridges[0].start()
        await fleet.bridges[0].wait_ready()  # the command was obeyed once, and is not any more
        assert await fleet.bridges[0].status("/readyz") == 200
