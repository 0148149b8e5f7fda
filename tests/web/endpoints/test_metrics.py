"""`/metrics`: what was counted, under the names that the contract gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from bridge.core.protocol import close_codes
from bridge.web.app import create_app
from bridge.web.auth.origins import OriginPolicy
from bridge.web.endpoints.metrics import MetricsCollector, metrics_router
from bridge.web.transport.http_connections import HttpConnections
from bridge.web.upstream import MetricSample
from tests.web.in_process_bridge import TIMESTAMP, wait_until
from tests.web.publish_api import check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client.metrics_core import Metric

    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge


NOW = 1_795_000_060.0


class CountedMetrics:
    """What was counted while reading, as a test says."""

    def samples(self) -> list[MetricSample]:
        reasons = {"bad_json": 2, "too_large": 1}
        return [
            MetricSample("lag", "What is not read.", {"orders": 7, "news": 0}, "topic"),
            MetricSample("dead_letters", "What is no event.", reasons, "reason", is_counter=True),
            MetricSample("replay_records_read", "What is read again.", 12, is_counter=True),
        ]


@pytest.fixture
async def http(rig: InProcessBridge) -> AsyncIterator[httpx.AsyncClient]:
    async with scraped(rig) as client:
        yield client


def scraped(rig: InProcessBridge) -> httpx.AsyncClient:
    collected = MetricsCollector(
        rig.hub,
        rig.admission,
        CountedMetrics(),
        counters=rig.counters,
        catch_up=rig.catch_up,
        upstream=rig.upstream,
        http_connections=HttpConnections(),
        wall_clock=lambda: NOW,
    )
    app = create_app(OriginPolicy(), [metrics_router(collected)], {})
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
    *("records_read_total", "replay_records_read_total"),
    *("events_routed_total", "events_delivered_total", "connections", "outbox_bytes", "ready"),
    *("stale_seconds", "journal_bytes", "journal_age_seconds", "replaying", "resumes_total"),
)


async def test_the_names_are_those_of_the_contract(http: httpx.AsyncClient) -> None:
    found = await values(http)
    assert {f"push_bridge_{name}" for name in NAMES} <= found.keys()
    assert found["push_bridge_records_unaddressed_total{orders}"] == 0
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
        assert family.type in {"counter", "gauge", "histogram", "info"}


async def test_what_happens_is_counted(rig: InProcessBridge, http: httpx.AsyncClient) -> None:
    alice, _bob = (
        await rig.connect_welcomed("account=alice"),
        await rig.connect_welcomed("account=bob"),
    )
    rig.publish(accounts=["alice"])
    rig.publish(all=True)
    rig.publish(accounts=["nobody here"])
    rig.publish()
    found = await values(http)
    assert found["push_bridge_records_read_total"] == 4
    assert found["push_bridge_records_unaddressed_total{orders}"] == 1
    assert found["push_bridge_events_delivered_total"] == 3
    assert found["push_bridge_records_filtered_total{orders}"] == 0
    assert found["push_bridge_connections"] == 2
    await alice.connection.close()
    await wait_until(lambda: rig.admission.connection_count == 1)
    assert (await values(http))["push_bridge_connections"] == 1


async def test_what_is_routed_is_what_is_neither_for_nobody_nor_dead(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    rig.publish(accounts=["alice"])
    rig.publish(accounts=["nobody here"])
    rig.publish()
    rig.publish_record(b"no JSON")
    found = await values(http)
    assert found["push_bridge_records_read_total"] == 4
    assert found["push_bridge_events_routed_total"] == 2


async def test_clients_are_told_apart_by_what_they_speak(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    await rig.connect_welcomed("account=alice")
    listening = await rig.open_tcp()
    listening.send(b"GET /events?account=bob HTTP/1.1\r\nHost: bridge\r\n\r\n")
    await wait_until(lambda: rig.admission.connection_count == 2)
    found = await values(http)
    assert found["push_bridge_clients{websocket}"] == found["push_bridge_clients{sse}"] == 1
    assert found["push_bridge_connections"] == 2


async def test_who_is_not_let_in_is_counted_by_the_reason(open_rig: OpenBridge) -> None:
    rig = await open_rig(max_connections_per_account=1)
    await rig.connect_welcomed("account=alice")
    await (await rig.connect("account=alice")).wait_closed()
    await (await rig.connect("topics=nowhere")).wait_closed()
    rig.upstream.reports_ready = False
    await (await rig.connect()).wait_closed()
    rig.upstream.reports_ready = True
    hello = await rig.connect("hello=1")
    await hello.send("nonsense")
    await hello.wait_closed()
    async with (
        scraped(rig) as http,
        httpx.AsyncClient(base_url=rig.http, trust_env=False, verify=False) as sse,
    ):
        foreign = {"Origin": "https://elsewhere.example"}
        for answer in (
            await sse.get("/events?topics="),
            await sse.get("/events", headers=foreign),
            await sse.get("/events?topics=nowhere"),
        ):
            assert answer.status_code in {400, 403}
        found = await values(http)
    refused = {name: value for name, value in found.items() if "refused" in name and value}
    assert refused == {
        "push_bridge_handshakes_refused_total{account}": 1,
        "push_bridge_handshakes_refused_total{forbidden}": 2,
        "push_bridge_handshakes_refused_total{not_ready}": 1,
        "push_bridge_handshakes_refused_total{bad_request}": 2,
        "push_bridge_handshakes_refused_total{origin}": 1,
    }


async def test_gaps_and_who_came_back_are_counted(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    client = await rig.connect_welcomed("account=alice")
    rig.hub.skip_unreadable("orders", "corrupt", {0: 12})
    rig.pool.flusher.flush()
    cursor = (await client.expect("gap"))["cursor"]
    rig.hub.set_start_offsets("orders", b"another.", {0: 0, 1: 0})
    back = await rig.connect_welcomed(f"account=alice&cursor={cursor}")
    assert (await back.expect("gap"))["reason"] == "recreated"
    found = await values(http)
    assert found["push_bridge_feed_gaps_total{corrupt}"] == 1
    assert found["push_bridge_feed_gaps_total{recreated}"] == 1
    assert found["push_bridge_replay_gaps_total{recreated}"] == 1
    assert found["push_bridge_resumes_total"] == 1


async def test_the_journal_tells_how_far_back_it_reaches(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    assert (await values(http))["push_bridge_journal_age_seconds"] == 0
    rig.publish(all=True)
    assert (await values(http))["push_bridge_journal_age_seconds"] == NOW - TIMESTAMP / 1000


async def test_latencies_are_told_by_their_bounds(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    for seconds in (0.0, 0.001, 0.3, 100.0):
        rig.hub.counters.latency_seconds.observe(seconds)
    found = await values(http)
    name = "push_bridge_delivery_latency_seconds"
    assert [found[f"{name}_bucket{{{bound}}}"] for bound in ("0.001", "0.25", "0.5", "60.0")] == [
        *(2, 2, 3, 3)
    ]
    assert found[f"{name}_bucket{{+Inf}}"] == found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(100.301)


async def test_what_is_known_beforehand_is_told_before_it_happens(http: httpx.AsyncClient) -> None:
    found = await values(http)
    for code in close_codes.CLOSE_CODES:
        assert found[f"push_bridge_closes_total{{{code.code}}}"] == 0
    assert found["push_bridge_feed_gaps_total{expired}"] == 0
    assert found["push_bridge_handshakes_refused_total{rate}"] == 0


async def test_what_waits_for_slow_clients_is_told(
    rig: InProcessBridge, http: httpx.AsyncClient
) -> None:
    await rig.open_websocket("account=alice", receive_bytes=4096)
    (session,) = rig.hub.subscriptions.by_account["alice"]
    while not session.outbox.pending_bytes:
        rig.publish(accounts=["alice"], data="x" * 50_000)
    assert (await values(http))["push_bridge_outbox_bytes"] == session.outbox.pending_bytes


async def test_every_close_is_counted_by_its_code_once(open_rig: OpenBridge) -> None:
    rig = await open_rig(max_connections=1)
    client = await rig.connect_welcomed()
    for _ in range(2):
        assert (await (await rig.connect()).wait_closed()).code == 4006
    bad_hello = await rig.connect("hello=1")
    await bad_hello.send("nonsense")
    assert (await bad_hello.wait_closed()).code == 4502
    (session,) = rig.hub.subscriptions.all_sessions
    rig.hub.close(session, close_codes.SILENT)
    rig.pool.flusher.flush()
    assert (await client.wait_closed()).code == 4003
    await wait_until(lambda: len(rig.pool) == 0)
    async with scraped(rig) as http:
        found = await values(http)
    closes = {name: value for name, value in found.items() if "closes" in name and value}
    assert closes == {
        "push_bridge_closes_total{4006}": 2,
        "push_bridge_closes_total{4502}": 1,
        "push_bridge_closes_total{4003}": 1,
    }


async def test_an_outage_is_told(rig: InProcessBridge, http: httpx.AsyncClient) -> None:
    rig.upstream.stale_for, rig.upstream.reports_ready = 12.5, False
    found = await values(http)
    assert (found["push_bridge_stale_seconds"], found["push_bridge_ready"]) == (12.5, 0)
    rig.upstream.stale_for, rig.upstream.reports_ready = None, True
    found = await values(http)
    assert (found["push_bridge_stale_seconds"], found["push_bridge_ready"]) == (0, 1)
    rig.admission.is_draining = True
    assert (await values(http))["push_bridge_ready"] == 0


async def test_openmetrics_is_spoken_to_who_asks_for_it(http: httpx.AsyncClient) -> None:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await http.get("/metrics", headers=accept)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(answer.text)}  # type: ignore[no-untyped-call]
    assert {"push_bridge_records_read", "push_bridge_lag", "process_cpu_seconds"} <= names


async def test_no_token_is_asked_for_and_nothing_else_is_answered(http: httpx.AsyncClient) -> None:
    check_problem(await http.post("/metrics"), 405)
    check_problem(await http.get("/metrics/"), 404)
