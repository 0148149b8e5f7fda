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

from tests.journey.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.web.client import Client

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(180),
    pytest.mark.asyncio(loop_scope="module"),
]
WORKER = Path(__file__).parents[2] / "docs" / "examples" / "room_worker.py"
ONE, TWO = 0, 1


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(kafka: KafkaCluster) -> AsyncIterator[Fleet]:
    async with Fleet(kafka.bootstrap, ["one", "two"], HEARTBEAT_SECONDS="1") as fleet:
        yield fleet


@asynccontextmanager
async def people(fleet: Fleet) -> AsyncIterator[dict[str, Client]]:
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


async def got(fleet: Fleet, there: dict[str, Client], **envelope: Any) -> dict[str, Any]:
    """Publish an event, and one for everybody behind it; return what each client got before."""
    await fleet.publish(**envelope)
    await fleet.publish(all=True, type="last")
    await fleet.publish(all=True, type="last")
    found: dict[str, Any] = {}
    for name, client in there.items():
        lasts = 0
        while lasts < 2:  # it is in one of two partitions
            event = await client.next("event")
            if event["type"] == "last":
                lasts += 1
            else:
                assert name not in found, "twice"
                found[name] = event
    return found


async def listed(fleet: Fleet, bridge: int, there: dict[str, Client]) -> list[dict[str, Any]]:
    """Wait until an instance lists these clients, and nobody else any more."""
    ids = {*map(id_of, there.values())}
    page = await fleet.until(
        bridge, ["connections"], lambda page: {each["id"] for each in page["items"]} == ids
    )
    found: list[dict[str, Any]] = page["items"]
    return found


def id_of(client: Client) -> str:
    return str(client.welcome["connection"])


# -- push ------------------------------------------------------------------------------------------


async def test_to_everybody_with_a_tag(fleet: Fleet) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, all=True, tag="3", data={"sale": True})
    assert {name: (e["tag"], e["to"], e["data"]) for name, e in events.items()} == dict.fromkeys(
        there, ("3", "all", {"sale": True})
    )


async def test_to_a_room(fleet: Fleet) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, rooms=["hall"], data=1)
    assert {name: e["to"] for name, e in events.items()} == {"bob": "room:hall"}


async def test_to_accounts(fleet: Fleet) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, accounts=["ann", "cleo"], data=1)
    assert {name: e["to"] for name, e in events.items()} == dict.fromkeys(
        ["ann", "ann too"], "account"
    )


async def test_to_one_connection(fleet: Fleet) -> None:
    async with people(fleet) as there:
        events = await got(fleet, there, connections=[id_of(there["ann too"])], data=1)
    assert {name: e["to"] for name, e in events.items()} == {"ann too": "connection"}


async def test_over_http_through_either_instance(fleet: Fleet) -> None:
    async with people(fleet) as there:
        for bridge in ONE, TWO:
            body = {"topic": fleet.topic, "accounts": ["bob"], "data": bridge}
            at = await fleet.tell(bridge, "POST", "events", body=body)
            event = await there["bob"].next("event")
            assert (event["at"], event["data"]) == (at, bridge)


# -- rooms -----------------------------------------------------------------------------------------


async def test_a_connection_joins_and_leaves_by_a_call_to_the_other_instance(fleet: Fleet) -> None:
    async with people(fleet) as there:
        await listed(fleet, ONE, there)
        path = ["rooms", "order:42", "connections", id_of(there["bob"])]
        await fleet.tell(ONE, "PUT", *path)
        assert (await there["bob"].next("rooms"))["joined"] == ["order:42"]
        events = await got(fleet, there, rooms=["order:42"])
        assert list(events) == ["bob"]
        await fleet.tell(ONE, "DELETE", *path)
        assert (await there["bob"].next("rooms"))["left"] == ["order:42"]
        assert await got(fleet, there, rooms=["order:42"]) == {}


async def test_an_account_is_in_a_room_until_it_leaves_wherever_it_connects(fleet: Fleet) -> None:
    async with people(fleet) as there:
        await fleet.tell(TWO, "PUT", "rooms", "club", "accounts", "ann")
        for name in "ann", "ann too":
            assert (await there[name].next("rooms"))["joined"] == ["club"]
        async with fleet.client(ONE, account="ann") as later:
            assert later.welcome["rooms"] == ["club"]
            events = await got(fleet, {**there, "later": later}, rooms=["club"])
            assert set(events) == {"ann", "ann too", "later"}
        await fleet.tell(ONE, "DELETE", "rooms", "club", "accounts", "ann")
        for name in "ann", "ann too":
            assert (await there[name].next("rooms"))["left"] == ["club"]


async def test_a_backend_that_writes_to_kafka_itself_needs_no_http(fleet: Fleet) -> None:
    async with people(fleet) as there:
        await fleet.command(do="join", room="vip", account="bob")
        assert (await there["bob"].next("rooms"))["joined"] == ["vip"]
        await fleet.command(do="leave", room="vip", account="bob")
        assert (await there["bob"].next("rooms"))["left"] == ["vip"]
        await fleet.command(do="disconnect", account="bob", reason="enough")
        closed = await there["bob"].end()
        assert (closed.code, closed.reason) == (4504, "disconnected by the backend: enough")
        await there["ann"].next("heartbeat")


async def test_rooms_have_titles(fleet: Fleet) -> None:
    await fleet.tell(ONE, "PUT", "rooms", "order:7", body={"title": "Ann's order, with a ribbon"})
    told = await fleet.until(TWO, ["rooms", "order:7"], lambda room: room["title"] is not None)
    assert told["title"] == "Ann's order, with a ribbon"
    listed = await fleet.told(ONE, "rooms", limit="1000")
    assert [each["title"] for each in listed["items"] if each["room"] == "order:7"] == [
        told["title"]
    ]


# -- who is there ----------------------------------------------------------------------------------


async def test_heartbeats_come_and_are_answered(fleet: Fleet) -> None:
    async with people(fleet) as there:
        await there["ann"].expect("heartbeat")
        await there["ann"].say("heartbeat", id="mine")
        while (await there["ann"].expect("heartbeat")).get("id") != "mine":
            pass


async def test_connections_of_all_instances_are_listed(fleet: Fleet) -> None:
    async with people(fleet) as there:
        for bridge in ONE, TWO:
            told = await listed(fleet, bridge, there)
            assert {each["instance"] for each in told} == {"one", "two"}
        in_hall = await fleet.told(ONE, "connections", room="hall")
        assert [each["account"] for each in in_hall["items"]] == ["bob"]


async def test_an_accounts_connections_on_several_instances(fleet: Fleet) -> None:
    async with people(fleet) as there:
        anns = sorted(id_of(there[name]) for name in ("ann", "ann too"))
        for bridge in ONE, TWO:
            path = ["accounts", "ann"]
            await fleet.until(bridge, path, lambda told: told["connections"] == anns)
        await fleet.tell(TWO, "DELETE", "accounts", "ann", "connections")
        for name in "ann", "ann too":
            assert (await there[name].end()).code == 4504
        for bridge in ONE, TWO:
            await fleet.until(bridge, ["accounts", "ann"], lambda told: not told["connections"])


async def test_one_connection_is_closed_by_a_call_to_the_other_instance(fleet: Fleet) -> None:
    async with people(fleet) as there:
        await listed(fleet, ONE, there)
        await fleet.tell(ONE, "DELETE", "connections", id_of(there["ann too"]))
        assert (await there["ann too"].end()).code == 4504
        gone = await fleet.ask(ONE, "DELETE", "connections", "0" * 32)
        assert gone.status_code == 404


async def test_the_feeds_of_each_instance(fleet: Fleet) -> None:
    async with people(fleet) as there:
        for bridge, subscribers in (ONE, 1), (TWO, 2):
            await listed(fleet, bridge, there)
            (feed,) = (await fleet.told(bridge, "topics"))["items"]
            assert (feed["topic"], feed["state"]) == (fleet.topic, "reading")
            assert feed["subscribers"] == subscribers
            assert [each["lag"] for each in feed["partitions"]] == [0, 0]


async def test_the_instances(fleet: Fleet) -> None:
    told = await fleet.until(ONE, ["instances"], lambda page: len(page["items"]) == 2)
    assert [(each["instance"], each["ready"]) for each in told["items"]] == [
        ("one", True),
        ("two", True),
    ]


# -- work for those who are there ------------------------------------------------------------------


@asynccontextmanager
async def room_worker(fleet: Fleet) -> AsyncIterator[asyncio.StreamReader]:
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
    fleet = Fleet(kafka.bootstrap, ["one", "two"], TOPICS=json.dumps(["ticks"]))
    fleet.topic = "ticks"
    async with fleet, room_worker(fleet) as printed:

        async def line() -> str:
            async with asyncio.timeout(60):
                return (await printed.readline()).decode().strip()

        async with fleet.client(ONE, account="ann", rooms="kitchen") as ann:
            assert await line() == "occupied: kitchen"
            assert (await ann.next("event"))["data"]["room"] == "kitchen"
            async with fleet.client(TWO, account="bob", rooms="kitchen") as bob:
                assert (await bob.next("event"))["type"] == "tick"
        assert await line() == "vacated: kitchen"
