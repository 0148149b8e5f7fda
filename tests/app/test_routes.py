"""Routes in a whole instance: live, in `/history`, in the metrics, and changed by a reload."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.app.memory_instance import MemoryInstance

if TYPE_CHECKING:
    from pathlib import Path

ROOMS = {"rooms": "room:{value.room}", "when": {"value.kind": "order"}, "data": "{value.n}"}
EVERYBODY = {"all": True, "type": "{value.kind}", "data": {"number": "{value.n}"}}


def write(bridge: MemoryInstance, *values: dict[str, Any]) -> None:
    raw = [json.dumps(value).encode() for value in values]
    bridge.kafka.append("in-kafka", 0, raw, time_ms=int(time.time() * 1000))  # in `/history` too


def orders(**fields: Any) -> dict[str, Any]:
    return {"name": "orders", "kafka": "in-kafka", **fields}


async def history(bridge: MemoryInstance) -> list[Any]:
    response = await bridge.http.get("/history", params={"topics": "orders", "rooms": "room:x"})
    assert response.status_code == 200, response.text
    return [event["data"] for event in response.json()["events"]]


async def metric(bridge: MemoryInstance, name: str) -> float:
    lines = (await bridge.http.get("/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"push_bridge_{name} ")]
    return float(line.rpartition(" ")[2])


async def test_filtered_records_are_counted_and_in_no_list(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, [orders(route=ROOMS)])
    bridge.kafka.create("in-kafka")
    async with bridge.running(), bridge.connect("rooms=room:x") as client:
        await client.expect("welcome")
        write(bridge, {"kind": "audit", "room": "x"}, {"kind": "order", "room": "x", "n": 1})
        assert (await client.expect("event"))["data"] == 1
        assert await history(bridge) == [1]
        assert await metric(bridge, 'records_filtered_total{topic="orders"}') == 1
        assert await metric(bridge, 'records_unaddressed_total{topic="orders"}') == 0
        assert await metric(bridge, "records_read_total") == 2


async def test_dead_pass_is_counted_only(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, [orders(route=ROOMS, dead="pass")])
    bridge.kafka.create("in-kafka")
    async with bridge.running(), bridge.connect("rooms=room:x") as client:
        await client.expect("welcome")
        write(
            bridge,
            {"kind": "order", "room": {"no": "text"}},
            {"kind": "order", "room": "x", "n": 2},
        )
        assert (await client.expect("event"))["data"] == 2
        assert await metric(bridge, 'dead_letters_total{reason="bad_route:rooms"}') == 1


async def test_a_reload_changes_the_route_for_what_is_replayed_too(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, [orders(route=ROOMS)])
    bridge.kafka.create("in-kafka")
    async with bridge.running(), bridge.connect("rooms=room:x") as client:
        await client.expect("welcome")
        write(bridge, {"kind": "audit", "n": 1}, {"kind": "order", "room": "x", "n": 2})
        assert (await client.expect("event"))["data"] == 2
        assert (await bridge.reload_as([orders(route=EVERYBODY)]))["changed"] == ["orders"]
        write(bridge, {"kind": "audit", "n": 3})
        event = await client.expect("event")
        assert (event["type"], event["data"]) == ("audit", {"number": 3})
        assert await history(bridge) == [{"number": 1}, {"number": 2}, {"number": 3}]


async def test_a_wrong_route_changes_nothing(tmp_path: Path) -> None:
    bridge = MemoryInstance(tmp_path, [orders(route=ROOMS)])
    bridge.kafka.create("in-kafka")
    async with bridge.running(), bridge.connect("rooms=room:x") as client:
        await client.expect("welcome")
        bridge.write([orders(route={"rooms": "{key}{value.id}"})])
        response = await bridge.reload()
        assert response.status_code == 422
        assert "topics.0.route.rooms: line 1: " in response.json()["detail"]
        write(bridge, {"kind": "order", "room": "x", "n": 1})
        assert (await client.expect("event"))["data"] == 1
