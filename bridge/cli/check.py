"""`push-bridge check`: reports whether `serve` would work, and what it would read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    err,
    exit_with_error,
    load_settings_or_exit,
    out,
    run,
)
from bridge.cli.serve import require_servable

if TYPE_CHECKING:
    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Validate the settings, connect to Kafka, print what `serve` would read."""
    settings = load_settings_or_exit(config)
    require_servable(settings)
    from bridge.app.access import build_kafka_access

    if settings.auth.mode == "jwt" and settings.auth.jwks_url:
        run(_check_keys(settings.auth.jwks_url))
    run(_check_topics(settings, build_kafka_access(settings.kafka), as_json))


async def _check_keys(location: str) -> None:
    """Fetch the key set once; exit with an error message if it cannot be used."""
    from bridge.web.auth.fetch import download, parse_location, redact_location
    from bridge.web.auth.tokens.jwks import parse_key_set

    source = parse_location(location)
    try:
        parse_key_set(await download(source))
    except (OSError, ValueError) as error:
        exit_with_error(
            f"the key set at {redact_location(source)} cannot be used"
            f" (BRIDGE_AUTH__JWKS_URL): {error}"
        )


async def _check_topics(settings: Settings, kafka_access: KafkaAccess, as_json: bool) -> None:
    from bridge.kafka.client.client import (
        EARLIEST,
        LATEST,
        REQUEST_ERRORS,
        KafkaClient,
        TopicPartition,
    )

    client = KafkaClient(kafka_access)
    try:
        await client.connect()
        descriptions = await client.describe_topics({topic.kafka_name for topic in settings.topics})
        leaders = {
            TopicPartition(name, number): leader
            for name, description in descriptions.items()
            for number, leader in description.leaders.items()
        }
        starts = await client.list_offsets(dict.fromkeys(leaders, EARLIEST), leaders)
        ends = await client.list_offsets(dict.fromkeys(leaders, LATEST), leaders)
    except REQUEST_ERRORS as error:
        exit_with_error(
            f"Kafka at {kafka_access.bootstrap_servers} cannot be used"
            f" (BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
        )
    finally:
        await client.close()
    for topic in settings.topics:
        partitions = sorted(p for p in leaders if p.topic == topic.kafka_name)
        records = sum(ends.get(p, 0) - starts.get(p, 0) for p in partitions)
        row = {
            "topic": topic.name,
            "kafka": topic.kafka_name,
            "exists": topic.kafka_name in descriptions,
            "partitions": len(partitions),
            "records": records,
            "private": topic.private,
            "on_demand": topic.on_demand,
        }
        _print_topic(row, as_json)


def _print_topic(row: dict[str, Any], as_json: bool) -> None:
    if as_json:
        out.print(json.dumps(row), markup=False)
    elif row["exists"]:
        flags = ", private" * row["private"] + ", on demand" * row["on_demand"]
        kafka_name = "" if row["kafka"] == row["topic"] else f" (Kafka's {row['kafka']})"
        out.print(
            f"[green]ok[/]       {row['topic']}{kafka_name}: {row['partitions']} partitions,"
            f" about {row['records']} records{flags}"
        )
    else:
        err.print(
            f"[yellow]warning[/]  {row['topic']}: Kafka has no topic {row['kafka']!r} yet;"
            " once it exists, it is read from its beginning"
        )
