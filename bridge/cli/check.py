"""`push-bridge check`: would `serve` work, and what would it read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    err,
    out,
    refuse,
    run,
    settings_or_exit,
)
from bridge.cli.serve import check_auth

if TYPE_CHECKING:
    from bridge.config.settings import Settings
    from bridge.kafka.client.client import Access


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Validate the settings, connect to Kafka, print what would be read."""
    settings = settings_or_exit(config)
    if not settings.topics:
        refuse('BRIDGE_TOPICS: name the topics to serve, as ["orders", "news"]', code=2)
    check_auth(settings)
    from bridge.app.instance import access

    run(_check(settings, access(settings.kafka), as_json))


async def _check(settings: Settings, reach: Access, as_json: bool) -> None:
    from bridge.kafka.client.client import EARLIEST, LATEST, OUT_OF_REACH, Cluster, Partition

    cluster = Cluster(reach)
    try:
        await cluster.connect()
        found = await cluster.describe({topic.kafka_name for topic in settings.topics})
        leaders = {
            Partition(name, number): leader
            for name, description in found.items()
            for number, leader in description.leaders.items()
        }
        starts = await cluster.offsets(dict.fromkeys(leaders, EARLIEST), leaders)
        ends = await cluster.offsets(dict.fromkeys(leaders, LATEST), leaders)
    except OUT_OF_REACH as error:
        refuse(
            f"Kafka at {reach.bootstrap_servers} can not be used"
            f" (BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
        )
    finally:
        await cluster.close()
    for topic in settings.topics:
        partitions = sorted(p for p in leaders if p.topic == topic.kafka_name)
        records = sum(ends.get(p, 0) - starts.get(p, 0) for p in partitions)
        row = {
            "topic": topic.name,
            "kafka": topic.kafka_name,
            "exists": topic.kafka_name in found,
            "partitions": len(partitions),
            "records": records,
            "private": topic.private,
            "on_demand": topic.on_demand,
        }
        _print(row, as_json)


def _print(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        out.print(json.dumps(row), markup=False)
    elif row["exists"]:
        more = ", private" * row["private"] + ", on demand" * row["on_demand"]
        kafka = "" if row["kafka"] == row["topic"] else f" (Kafka's {row['kafka']})"
        out.print(
            f"[green]ok[/]       {row['topic']}{kafka}: {row['partitions']} partitions,"
            f" about {row['records']} records{more}"
        )
    else:
        err.print(
            f"[yellow]warning[/]  {row['topic']}: Kafka has no topic {row['kafka']!r} yet;"
            " it will be read from its beginning once it exists"
        )
