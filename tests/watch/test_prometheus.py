"""A real Prometheus watches a real bridge, as the demo's own configuration says."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.command_process import CommandProcess
from tests.cli.conftest import next_frame, running_dev
from tests.watch.monitoring_queries import alert_rules, metric_names, queries, substitute_variables
from tests.watch.prometheus_process import PrometheusProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.prometheus


async def told(url: str) -> set[str]:
    """The names that a bridge has at `/metrics`."""
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"{url}/metrics")).text
    return {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }


async def test_every_query_and_every_alert_has_an_answer(tmp_path: Path) -> None:
    with CommandProcess(tmp_path, "dev", "--demo", PORT="0") as command:
        dev = running_dev(command)
        address = dev.url.removeprefix("http://")
        async with (
            dev.client("account=alice&rooms=lobby") as client,
            PrometheusProcess(tmp_path, address) as prometheus,
        ):
            await next_frame(client, "event")

            async def has_seen_enough() -> bool:
                seen = "count_over_time(push_bridge_events_delivered_total[1m]) > 5"
                return bool(await prometheus.query(seen))

            await prometheus.wait_until(has_seen_enough)
            there = {*await told(dev.url), "up"}
            for query in queries():
                series = await prometheus.query(substitute_variables(query.expr))
                assert bool(series) == (metric_names(query.expr) <= there), query

            (target,) = (await prometheus.get("targets"))["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            rules = await prometheus.rules()
            assert {name: rule["health"] for name, rule in rules.items()} == dict.fromkeys(
                alert_rules(), "ok"
            )

            async def knows_that_it_is_gone() -> bool:
                states = {name: rule["state"] for name, rule in (await prometheus.rules()).items()}
                return bool(states["PushBridgeInstanceGone"] != "inactive")

            assert not await knows_that_it_is_gone()
            command.send_signal(signal.SIGTERM)
            await prometheus.wait_until(knows_that_it_is_gone)
