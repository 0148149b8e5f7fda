"""A small storm, so that the tool that makes great ones is known to work (`storm.py` says how)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.journey.storm import StormSize, run_storm

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SIZE = StormSize(clients=200, records=5_000, idle_clients=10)


async def test_those_who_come_back_at_once_get_all_they_missed_and_share_the_reading(
    kafka: KafkaCluster,
) -> None:
    report = await run_storm(kafka.bootstrap, SIZE)
    assert report.failures == ()
    assert report.events > 10 * SIZE.clients, "everybody had missed some"
    assert SIZE.records <= report.records_read <= 2 * SIZE.records
