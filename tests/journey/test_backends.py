"""The jobs of the push servers that everybody writes, each as one documented call.

On a real broker with two instances: whatever is asked of one of them is so on the other.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.journey.bridge_group import BridgeGroup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.web.websocket_client import WebSocketClient

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]
WORKER = Path(__file__).parents[2] / "docs" / "examples" / "room_worker.py"
ONE, TWO = 0, 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(kafka: KafkaCluster) -> AsyncIterator[BridgeGroup]:
    async with BridgeGroup(kafka.bootstrap, ["one", "two"], HEARTBEAT_SECONDS="1") as fleet:
        yield fleet


@asynccontextmanager
async def people(fleet: BridgeGroup) -> AsyncIterator[dict[str, WebSocketClient]]:
    """Ann on both instances, Bob on the second; only Bob is in the hall."""
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(fleet.client(bridge, **query))
            for name, bridge, query in [
                ("ann", ONE, {"account": "ann"}),
                ("ann too", TWO, {"account": "ann"}),
                ("bob", TWO, {"account": "bob", "rooms": "hall"}),
            ]
        }
        yield found


async def got(
    fleet: BridgeGroup, there: dict[str, WebSocketClient], **envelope: Any
) -> dict[str, Any]:
    """Publish an event, and one for everybody behind it; return what each client got before."""
    await fleet.publish(**envelope)
    await fleet.publish(all=True, type="last")
    await fleet.publish(all=True, type="last")
    found: dict[str, Any] = {}
    for name, client in there.items():
        lasts = 0
        while lasts < 2:  # it is in one of two partitions
            event = await client.next_of("event")
            if event["type"] == "last":
                lasts += 1
            else:
                assert name not in found, "twice"
                found[name] = event
    return found


async def listed(
    fleet: BridgeGroup, bridge: int, there: dict[str, WebSocketClient]
) -> list[dict[str, Any]]:
    """Wait until an instance lists these clients, and nobody else any more."""
    ids = {*map(id_of, there.values())}
    page = await fleet.wait_for(
        bridge, ["connections"], lambda page: {each["id"] for each in page["items"]} == ids
    )
    found: list[dict[str, Any]] = page["items"]
    return found


def id_of(client: WebSocketClient) -> str:
    return str(client.welcome["connection"])


# -- push ------------------------------------------------------------------------------------------


async def test_to_everybody_with_a_tag(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, all=True, tag="3", data={"sale": True})
    assert {name: (e["tag"], e["to"], e["data"]) for name, e in events.items()} == dict.fromkeys(
        there, ("3", "all", {"sale": True})
    )


async def test_to_a_room(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, rooms=["hall"], data=1)
    assert {name: e["to"] for name, e in events.items()} == {"bob": "room:hall"}


async def test_to_accounts(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, accounts=["ann", "cleo"], data=1)
    assert {name: e["to"] for name, e in events.items()} == dict.fromkeys(
        ["ann", "ann too"], "account"
    )


async def test_to_one_connection(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, connections=[id_of(there["ann too"])], data=1)
    assert {name: e["to"] for name, e in events.items()} == {"ann too": "connection"}


async def test_over_http_through_either_instance(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        for bridge in ONE, TWO:
            body = {"topic": fleet.topic, "accounts": ["bob"], "data": bridge}
            at = await fleet.send_command(bridge, "POST", "events", body=body)
            event = await there["bob"].next_of("event")
            assert (event["at"], event["data"]) == (at, bridge)


# -- rooms -----------------------------------------------------------------------------------------


async def test_a_connection_joins_and_leaves_by_a_call_to_the_other_instance(
    fleet: BridgeGroup,
) -> None:
    async with people(fleet) as there:
        await listed(fleet, ONE, there)
        path = ["rooms", "order:42", "connections", id_of(there["bob"])]
        await fleet.send_command(ONE, "PUT", *path)
        assert (await there["bob"].next_of("rooms"))["joined"] == ["order:42"]
        events = await got(fleet, there, rooms=["order:42"])
        assert list(events) == ["bob"]
        await fleet.send_command(ONE, "DELETE", *path)
        assert (await there["bob"].next_of("rooms"))["left"] == ["order:42"]
        assert await got(fleet, there, rooms=["order:42"]) == {}


async def test_an_account_is_in_a_room_until_it_leaves_wherever_it_connects(
    fleet: BridgeGroup,
) -> None:
    async with people(fleet) as there:
        await fleet.send_command(TWO, "PUT", "rooms", "club", "accounts", "ann")
        for name in "ann", "ann too":
            assert (await there[name].next_of("rooms"))["joined"] == ["club"]
        async with fleet.client(ONE, account="ann") as later:
            assert later.welcome["rooms"] == ["club"]
            events = await got(fleet, {**there, "later": later}, rooms=["club"])
            assert set(events) == {"ann", "ann too", "later"}
        await fleet.send_command(ONE, "DELETE", "rooms", "club", "accounts", "ann")
        for name in "ann", "ann too":
            assert (await there[name].next_of("rooms"))["left"] == ["club"]


async def test_a_backend_that_writes_to_kafka_itself_needs_no_http(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        await fleet.produce_command(do="join", room="vip", account="bob")
        assert (await there["bob"].next_of("rooms"))["joined"] == ["vip"]
        await fleet.produce_command(do="leave", room="vip", account="bob")
        assert (await there["bob"].next_of("rooms"))["left"] == ["vip"]
        await fleet.produce_command(do="disconnect", account="bob", reason="enough")
        closed = await there["bob"].wait_closed()
        assert (closed.code, closed.reason) == (4504, "disconnected by the backend: enough")
        await there["ann"].next_of("heartbeat")


async def test_rooms_have_titles(fleet: BridgeGroup) -> None:
    await fleet.send_command(
        ONE, "PUT", "rooms", "order:7", body={"title": "Ann's order, with a ribbon"}
    )
    told = await fleet.wait_for(TWO, ["rooms", "order:7"], lambda room: room["title"] is not None)
    assert told["title"] == "Ann's order, with a ribbon"
    listed = await fleet.get(ONE, "rooms", limit="1000")
    assert [each["title"] for each in listed["items"] if each["room"] == "order:7"] == [
        told["title"]
    ]


# -- who is there ----------------------------------------------------------------------------------


async def test_heartbeats_come_and_are_answered(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        await there["ann"].expect("heartbeat")
        await there["ann"].send("heartbeat", id="mine")
        while (await there["ann"].expect("heartbeat")).get("id") != "mine":
            pass


async def test_connections_of_all_instances_are_listed(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        for bridge in ONE, TWO:
            told = await listed(fleet, bridge, there)
            assert {each["instance"] for each in told} == {"one", "two"}
        in_hall = await fleet.get(ONE, "connections", room="hall")
        assert [each["account"] for each in in_hall["items"]] == ["bob"]


async def test_an_accounts_connections_on_several_instances(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        anns = sorted(id_of(there[name]) for name in ("ann", "ann too"))
        for bridge in ONE, TWO:
            path = ["accounts", "ann"]
            await fleet.wait_for(bridge, path, lambda told: told["connections"] == anns)
        await fleet.send_command(TWO, "DELETE", "accounts", "ann", "connections")
        for name in "ann", "ann too":
            assert (await there[name].wait_closed()).code == 4504
        for bridge in ONE, TWO:
            await fleet.wait_for(bridge, ["accounts", "ann"], lambda told: not told["connections"])


async def test_one_connection_is_closed_by_a_call_to_the_other_instance(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        await listed(fleet, ONE, there)
        await fleet.send_command(ONE, "DELETE", "connections", id_of(there["ann too"]))
        assert (await there["ann too"].wait_closed()).code == 4504
        gone = await fleet.request(ONE, "DELETE", "connections", "0" * 32)
        assert gone.status_code == 404


async def test_the_feeds_of_each_instance(fleet: BridgeGroup) -> None:
    async with people(fleet) as there:
        for bridge, subscribers in (ONE, 1), (TWO, 2):
            await listed(fleet, bridge, there)
            (feed,) = (await fleet.get(bridge, "topics"))["items"]
            assert (feed["topic"], feed["state"]) == (fleet.topic, "reading")
            assert feed["subscribers"] == subscribers
            assert [each["lag"] for each in feed["partitions"]] == [0, 0]


async def test_the_instances(fleet: BridgeGroup) -> None:
    told = await fleet.wait_for(ONE, ["instances"], lambda page: len(page["items"]) == 2)
    assert [(each["instance"], each["ready"]) for each in told["items"]] == [
        ("one", True),
        ("two", True),
    ]


# -- work for those who are there ------------------------------------------------------------------


@asynccontextmanager
async def room_worker(fleet: BridgeGroup) -> AsyncIterator[asyncio.StreamReader]:
    """The example program: what is yielded is what it prints."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(WORKER), fleet.bootstrap, fleet.prefix),
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    try:
        yield program.stdout
    finally:
        program.kill()
        await program.wait()


async def test_one_worker_per_room_while_somebody_is_there(kafka: KafkaCluster) -> None:
    fleet = BridgeGroup(kafka.bootstrap, ["one", "two"], TOPICS=json.dumps(["ticks"]))
    fleet.topic = "ticks"
    async with fleet, room_worker(fleet) as printed:

        async def line() -> str:
            async with asyncio.timeout(60):
                return (await printed.readline()).decode().strip()

        async with fleet.client(ONE, account="ann", rooms="kitchen") as ann:
            assert await line() == "occupied: kitchen"
            assert (await ann.next_of("event"))["data"]["room"] == "kitchen"
            async with fleet.client(TWO, account="bob", rooms="kitchen") as bob:
                assert (await bob.next_of("event"))["type"] == "tick"
        assert await line() == "vacated: kitchen"
