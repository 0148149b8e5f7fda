"""The `/v1` calls that tell who is where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from bridge.core.coordination.commands import Join, SetRoomTitle
from tests.core.factories import event, publish
from tests.web.directory_api import (
    INVALID_NAMES,
    LIST_KEYS,
    ODD_NAMES,
    SINCE,
    DirectoryApiClient,
    DirectoryBackend,
    directory_api,
)
from tests.web.publish_api import BEARER, TOKEN, check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def registry() -> DirectoryBackend:
    return DirectoryBackend()


@pytest.fixture
async def at(registry: DirectoryBackend) -> AsyncIterator[DirectoryApiClient]:
    async with directory_api(registry) as caller:
        yield caller


def ids(items: list[dict[str, Any]], field: str = "id") -> list[str]:
    return [item[field] for item in items]


# -- connections -----------------------------------------------------------------------------------


async def test_a_connection_to_this_instance_is_told_with_what_only_it_knows(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c1", rooms=["s", "r"], topics=["orders", "news"], types=["order.*"])
    registry.last_seen["c1"] = 1_795_000_000.1239
    publish(registry.hub, event(10, all=True, type="order.shipped", data=b'"123"'))
    waiting = registry.hub.registry.by_id["c1"].outbox.pending_bytes
    assert waiting > 5
    assert await at.get("connections/c1") == {
        "id": "c1",
        "account": "ann",
        "rooms": ["r", "s"],
        "topics": ["news", "orders"],
        "types": ["order.*"],
        "instance": "i1",
        "address": "192.0.2.1",
        "since": "1970-01-01T00:00:00.000Z",
        "heard": SINCE,
        "queued_bytes": waiting,
    }


async def test_of_a_connection_to_another_instance_that_is_null(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_elsewhere("c2", None, ["r"], ["orders"])
    assert await at.get("connections/c2") == {
        "id": "c2",
        "account": None,
        "rooms": ["r"],
        "topics": ["orders"],
        "types": None,
        "instance": "i2",
        "address": "192.0.2.2",
        "since": SINCE,
        "heard": None,
        "queued_bytes": None,
    }


async def test_one_of_which_nothing_was_heard_yet_was_heard_at_no_time(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c1")
    told = await at.get("connections/c1")
    assert (told["heard"], told["queued_bytes"]) == (None, 0)


async def test_a_connection_that_nobody_knows_is_a_404(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c1")
    registry.connect_elsewhere("left", instance="i1")
    for id in ("nobody", "left", "c1%2F", "%20"):
        assert "no connection" in (await at.get(f"connections/{id}", 404))["detail"]


FOUND: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["c1", "c2", "c3", "c4"]),
    ({"account": "ann"}, ["c1", "c3"]),
    ({"room": "hall"}, ["c1", "c2", "c3"]),
    ({"topic": "news"}, ["c2", "c4"]),
    ({"instance": "i1"}, ["c1", "c2"]),
    ({"instance": "i2"}, ["c3", "c4"]),
    ({"account": "ann", "room": "hall", "topic": "orders", "instance": "i2"}, ["c3"]),
    ({"account": "ann", "topic": "news"}, []),
    ({"account": "nobody"}, []),
    ({"topic": "nothing"}, []),
]


async def test_those_are_listed_to_whom_all_applies_that_is_asked(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c2", "bob", rooms=["hall"], topics=["news"])
    registry.connect_here("c1", "ann", rooms=["hall"])
    registry.connect_elsewhere("c4", None, topics=["news"])
    registry.connect_elsewhere("c3", "ann", ["hall"])
    for wanted, found in FOUND:
        told = await at.get("connections", **wanted)
        assert (ids(told["items"]), told["next"]) == (found, None), wanted


async def test_any_name_can_be_asked_for(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    for number, name in enumerate(ODD_NAMES):
        registry.connect_here(f"c{number}", name, rooms=[name])
        registry.memberships.apply(Join(name, account=name))
    for number, name in enumerate(ODD_NAMES):
        encoded, id = quote(name, safe=""), f"c{number}"
        for filter in ("account", "room"):
            wanted: dict[str, Any] = {filter: name}
            assert ids((await at.get("connections", **wanted))["items"]) == [id]
        account = {"account": name, "rooms": [name], "connections": [id]}
        assert await at.get(f"accounts/{encoded}") == account
        room: dict[str, Any] = {"room": name, "title": None, "members": [name], "connections": [id]}
        assert await at.get(f"rooms/{encoded}") == room
    pages = await at.pages("rooms", 1)
    assert [ids(page, "room") for page in pages] == [[name] for name in sorted(ODD_NAMES)]


async def test_what_nothing_can_be_called_is_a_422(at: DirectoryApiClient) -> None:
    for name in INVALID_NAMES:
        for filter in ("account", "room", "topic", "instance"):
            told = await at.get("connections", 422, **{filter: name})
            assert told["detail"].startswith(f"{filter}: not a name")
        encoded = quote(name, safe="")
        for path in (f"accounts/{encoded}", f"rooms/{encoded}", f"connections/{encoded}"):
            assert "not a name" in (await at.get(path, 422))["detail"]
    for topic in ("", ".", "shop:orders", "a b"):
        await at.get("connections", 422, topic=topic)


# -- accounts and rooms ----------------------------------------------------------------------------


async def test_an_account_is_told_with_its_durable_rooms_and_all_its_connections(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c2", "ann", rooms=["own"])
    registry.connect_elsewhere("c1", "ann")
    for room in ("yard", "hall"):
        registry.memberships.apply(Join(room, account="ann"))
    told = {"account": "ann", "rooms": ["hall", "yard"], "connections": ["c1", "c2"]}
    assert await at.get("accounts/ann") == told


async def test_who_and_what_nobody_knows_is_empty(at: DirectoryApiClient) -> None:
    empty = {"account": "nobody", "rooms": [], "connections": []}
    assert await at.get("accounts/nobody") == empty
    nowhere: dict[str, Any] = {"room": "nowhere", "title": None, "members": [], "connections": []}
    assert await at.get("rooms/nowhere") == nowhere


async def test_a_room_alone_is_told_with_who_is_in_it(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c2", rooms=["hall"])
    registry.connect_elsewhere("c1", rooms=["hall"])
    registry.memberships.apply(SetRoomTitle("hall", "The hall"))
    for account in ("bob", "ann"):
        registry.memberships.apply(Join("hall", account=account))
    assert await at.get("rooms/hall") == {
        "room": "hall",
        "title": "The hall",
        "members": ["ann", "bob"],
        "connections": ["c1", "c2"],
    }


async def test_rooms_are_listed_with_counts(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c1", rooms=["hall"])
    registry.connect_elsewhere("c2", rooms=["hall", "yard"])
    registry.connect_elsewhere("left", rooms=["hall", "cellar"], instance="i1")
    registry.memberships.apply(Join("attic", account="ann"))
    registry.memberships.apply(SetRoomTitle("hall", "The hall"))
    registry.memberships.apply(SetRoomTitle("tower", "A tower"))
    told = await at.get("rooms")
    rows = [tuple(room.values()) for room in told["items"]]
    assert rows == [
        ("attic", None, 1, 0),
        ("hall", "The hall", 0, 2),
        ("tower", "A tower", 0, 0),
        ("yard", None, 0, 1),
    ]


# -- instances and topics --------------------------------------------------------------------------


async def test_instances_are_listed_with_how_many_are_connected(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.add_instance("i2", ready=False)
    registry.add_instance("i1")
    registry.connect_here("c1")
    registry.connect_elsewhere("c2")
    registry.connect_elsewhere("c3")
    told = {"since": SINCE, "heard": SINCE}
    assert (await at.get("instances"))["items"] == [
        {"instance": "i1", **told, "connections": 1, "ready": True},
        {"instance": "i2", **told, "connections": 2, "ready": False},
    ]


async def test_topics_are_listed_as_this_instance_reads_them(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.add_topic("orders")
    registry.add_topic("news")
    told = await at.get("topics")
    assert ids(told["items"], "topic") == ["news", "orders"]
    assert told["items"][1] == {
        "topic": "orders",
        "kafka": "shop.orders",
        "state": "reading",
        "subscribers": 3,
        "partitions": [
            {"partition": 0, "position": 5, "end": 7, "lag": 2},
            {"partition": 1, "position": 0, "end": 0, "lag": 0},
        ],
    }


# -- who may ask -----------------------------------------------------------------------------------


async def test_without_an_admin_token_it_is_a_401(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.connect_here("c1")
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    for path in (*LIST_KEYS, "connections/c1", "connections/c2", "accounts/a%2Cb", "rooms/r"):
        for headers in ({}, wrong):
            check_problem(await at.http.get(f"/v1/{path}", headers=headers), 401)
            check_problem(await at.http.get(f"/v1/{path}?limit=0&x=y", headers=headers), 401)


async def test_any_of_the_admin_tokens_will_do(registry: DirectoryBackend) -> None:
    async with directory_api(registry, "first", "second") as at:
        for token, status in (("first", 200), ("second", 200), (TOKEN, 401)):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await at.http.get("/v1/rooms", headers=headers)).status_code == status


async def test_what_is_not_there_is_a_problem(at: DirectoryApiClient) -> None:
    for path in ("", "nothing", "rooms/r/members", "connections/c1/rooms", "rooms/"):
        check_problem(await at.http.get(f"/v1/{path}", headers=BEARER), 404)
    check_problem(await at.http.get("/v1/accounts/ann/connections", headers=BEARER), 405)
