"""`bench` on real Kafka: the scenarios in which a bridge reads, filters and replays."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.command_process import run
from tests.harness.admin import create_topic
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka
SHORT = ["--connections", "50", "--seconds", "2", "--rate", "100", "--missed", "2000", "--json"]


async def test_on_real_kafka_nothing_is_lost_doubled_or_out_of_order(
    kafka: KafkaCluster, topic_name: str, tmp_path: Path
) -> None:
    await create_topic(kafka.bootstrap, topic_name, 3)
    async with BridgeProcess("bench", [topic_name], kafka.bootstrap) as bridge:
        await bridge.wait_ready()
        where = ["--url", f"http://{HOST}:{bridge.port}", "--kafka", kafka.bootstrap]
        for scenario, due in (("fanout", 300 * 50), ("accounts", 300), ("storm", 2_000)):
            arguments = ["bench", scenario, *where, "--topic", topic_name, *SHORT]
            ended = await asyncio.to_thread(run, tmp_path, *arguments)
            assert ended.exit_code == 0, ended
            told = json.loads(ended.stdout_lines[0])
            figures = told["figures"]
            assert told["version"] != "unknown"
            assert figures["received"] == figures["due"] == due
            assert (figures["lost"], figures["duplicates"], figures["disorder"]) == (0, 0, 0)
