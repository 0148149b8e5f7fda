"""`bench` on real Kafka: reading, filtering and replay."""

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


async def test_real_kafka_delivers_without_loss_duplicates_or_disorder(
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
            message = json.loads(ended.stdout_lines[0])
            figures = message["figures"]
            assert message["version"] != "unknown"
            assert figures["received"] == figures["due"] == due
            assert (figures["lost"], figures["duplicates"], figures["disorder"]) == (0, 0, 0)
