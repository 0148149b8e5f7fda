"""The board and the alerts beside a live pair of bridges on a real broker: every query answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import fresh_name
from tests.harness.ports import HOST
from tests.journey.bridge_group import BridgeGroup
from tests.watch.monitoring_queries import alert_rules, queries, substitute_variables
from tests.watch.prometheus_process import PrometheusProcess

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.prometheus, pytest.mark.timeout(180)]


async def test_every_query_answers_of_both_and_no_alert_is_raised_until_one_is_gone(
    kafka: KafkaCluster, tmp_path: Path
) -> None:
    rare = {"name": fresh_name("rare"), "on_demand": True}
    async with BridgeGroup(kafka.bootstrap, ["one", "two"], rare) as fleet:
        targets = [f"{HOST}:{bridge.port}" for bridge in fleet.bridges]
        async with (
            fleet.client(0, account="ann") as ann,
            fleet.client(1, account="bob", rooms="hall") as bob,
            PrometheusProcess(tmp_path, *targets) as prometheus,
        ):
            await fleet.wait_for_leader()
            for _ in range(3):
                await fleet.publish(all=True, data=1)
                await ann.next_of("event")
                await bob.next_of("event")

            async def has_seen_enough() -> bool:
                seen = "count_over_time(push_bridge_events_delivered_total[1m]) > 5"
                return len(await prometheus.query(seen)) == len(targets)

            await prometheus.wait_until(has_seen_enough)
            for query in queries():
                assert await prometheus.query(substitute_variables(query.expr)), query
            told = {
                series["metric"]["instance"]
                for series in await prometheus.query("push_bridge_connections")
            }
            assert told == set(targets)
            duty = await prometheus.query("sum(push_bridge_on_duty)")
            assert [series["value"][1] for series in duty] == ["1"]
            rules = await prometheus.rules()
            assert {name: (rule["health"], rule["state"]) for name, rule in rules.items()} == (
                dict.fromkeys(alert_rules(), ("ok", "inactive"))
            )
            await fleet.bridges[1].kill()

            async def knows_that_one_is_gone() -> bool:
                states = {name: rule["state"] for name, rule in (await prometheus.rules()).items()}
                return bool(states["PushBridgeInstanceGone"] != "inactive")

            await prometheus.wait_until(knows_that_one_is_gone)
