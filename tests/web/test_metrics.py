"""`/metrics`: what was counted, under the names that the contract gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from bridge.core import close
from bridge.web.doors import Doors
from bridge.web.metrics import Metrics, metrics
from bridge.web.site import site
from tests.web.posting import check_problem
from tests.web.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client.metrics_core import Metric

    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig


class Figures:
    """What was counted while reading, as a test says."""

    def __init__(self) -> None:
        self.lags = {"orders": 7, "news": 0}
        self.reasons = {"bad_json": 2, "too_large": 1}

    def lag(self) -> dict[str, int]:
        return self.lags

    def dead(self) -> dict[str, int]:
        return self.reasons

    def replayed(self) -> int:
        return 0


@pytest.fixture
async def http(rig: Rig) -> AsyncIterator[httpx.AsyncClient]:
    async with scraped(rig) as client:
        yield client


def scraped(rig: Rig) -> httpx.AsyncClient:
    app = site(Doors(), [metrics(Metrics(rig.hub, rig.entrance, Figures()))])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bridge.example")


async def families(http: httpx.AsyncClient) -> dict[str, Metric]:
    answer = await http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in read_text(answer.text)}


async def values(http: httpx.AsyncClient) -> dict[str, float]:
    """Every sample, its labels behind its name as `name{label}`."""
    return {
        sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
        for family in (await families(http)).values()
        for sample in family.samples
    }


NAMES = (
    *("records_read_total", "replay_records_read_total", "records_unaddressed_total"),
    *("events_routed_total", "events_delivered_total", "connections", "outbox_bytes", "ready"),
    *("stale_seconds",),
)


async def test_the_names_are_those_of_the_contract(http: httpx.AsyncClient) -> None:
    found = await values(http)
    assert {f"push_bridge_{name}" for name in NAMES} <= found.keys()
    assert found["push_bridge_lag{orders}"] == 7
    assert found["push_bridge_lag{news}"] == 0
    assert found["push_bridge_dead_letters_total{bad_json}"] == 2
    assert found["push_bridge_dead_letters_total{too_large}"] == 1
    assert found["process_cpu_seconds_total"] > 0
    assert found["process_resident_memory_bytes"] > 1e6
    assert all(name.startswith(("push_bridge_", "process_")) for name in found)


async def test_every_metric_says_what_it_is(http: httpx.AsyncClient) -> None:
    for family in (await families(http)).values():
        assert len(family.documentation) > 10
        assert family.type in {"counter", "gauge", "info"}


async def test_what_happens_is_counted(rig: Rig, http: httpx.AsyncClient) -> None:
    alice, _bob = await rig.join("account=alice"), await rig.join("account=bob")
    rig.publish(accounts=["alice"])
    rig.publish(all=True)
    rig.publish(accounts=["nobody here"])
    rig.publish()
    found = await values(http)
    assert found["push_bridge_records_read_total"] == 4
    assert found["push_bridge_records_unaddressed_total"] == 1
    assert found["push_bridge_events_delivered_total"] == 3
    assert found["push_bridge_connections"] == 2
    await alice.connection.close()
    await until(lambda: rig.entrance.count == 1)
    assert (await values(http))["push_bridge_connections"] == 1


async def test_what_is_routed_is_what_is_neither_for_nobody_nor_dead(rig: Rig) -> None:
    rig.hub.read, rig.hub.unaddressed = 100, 20
    async with scraped(rig) as http:
        assert (await values(http))["push_bridge_events_routed_total"] == 100 - 20 - 3


async def test_what_waits_for_slow_clients_is_told(rig: Rig, http: httpx.AsyncClient) -> None:
    await rig.open_raw("account=alice", receive_bytes=4096)
    (session,) = rig.hub.interest.accounts["alice"]
    while not session.outbox.pending:
        rig.publish(accounts=["alice"], data="x" * 50_000)
    assert (await values(http))["push_bridge_outbox_bytes"] == session.outbox.pending


async def test_every_close_is_counted_by_its_code_once(open_rig: OpenRig) -> None:
    rig = await open_rig(connections=1)
    client = await rig.join()
    for _ in range(2):
        assert (await (await rig.connect()).end()).code == 4006
    bad_hello = await rig.connect("hello=1")
    await bad_hello.say("nonsense")
    assert (await bad_hello.end()).code == 4502
    (session,) = rig.hub.interest.everybody
    rig.hub.hang_up(session, close.SILENT)
    rig.sockets.flush()
    assert (await client.end()).code == 4003
    await until(lambda: len(rig.sockets) == 0)
    async with scraped(rig) as http:
        found = await values(http)
    closes = {name: value for name, value in found.items() if "closes" in name}
    assert closes == {
        "push_bridge_closes_total{4006}": 2,
        "push_bridge_closes_total{4502}": 1,
        "push_bridge_closes_total{4003}": 1,
    }


async def test_an_outage_is_told(rig: Rig, http: httpx.AsyncClient) -> None:
    rig.upstream.stale_for, rig.upstream.is_ready = 12.5, False
    found = await values(http)
    assert (found["push_bridge_stale_seconds"], found["push_bridge_ready"]) == (12.5, 0)
    rig.upstream.stale_for, rig.upstream.is_ready = None, True
    found = await values(http)
    assert (found["push_bridge_stale_seconds"], found["push_bridge_ready"]) == (0, 1)


async def test_openmetrics_is_spoken_to_who_asks_for_it(rig: Rig, http: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    rig.hub.read = 10
    answer = await http.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"push_bridge_records_read", "push_bridge_lag", "process_cpu_seconds"} <= names


async def test_no_token_is_asked_for_and_nothing_else_is_answered(http: httpx.AsyncClient) -> None:
    check_problem(await http.post("/metrics"), 405)
    check_problem(await http.get("/metrics/"), 404)
