"""`push-bridge explain`: says for whom a record is, and why, from the settings alone.

Rule: the addresses go to stdout, each alone on a line. The exit code says nothing of the verdict.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    check_servers,
    exit_with_error,
    load_settings_or_exit,
    out,
    print_notice,
    run,
)

if TYPE_CHECKING:
    from bridge.config.settings import Settings
    from bridge.config.topics import TopicDefinition
    from bridge.core.protocol.record import Record


def explain(
    file: Annotated[
        str | None,
        typer.Argument(help="The value's bytes; '-' is standard input. Without it: no value."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic, by its public name.")] = None,
    key: Annotated[str | None, typer.Option(help="The record's key.")] = None,
    header: Annotated[list[str] | None, typer.Option(help="NAME=VALUE; repeatable.")] = None,
    at: Annotated[
        str | None, typer.Option(help="A position, TOPIC:PARTITION:OFFSET, in place of a record.")
    ] = None,
    kafka: Annotated[str | None, typer.Option(help="Brokers; default: from the settings.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print for whom a record is: addresses on stdout, the reason on stderr."""
    settings = load_settings_or_exit(config)
    check_servers(kafka)
    if at is not None:
        if file is not None or key is not None or header:
            exit_with_error(
                "--at: names a record in Kafka; leave FILE, --key, --header out", code=2
            )
        run(_explain_position(settings, _parse_position(at), topic, kafka, as_json))
        return
    if topic is None:
        exit_with_error("--topic: name the topic, or a position with --at", code=2)
    from bridge.core.routes.explanation import SeenRecord

    record = SeenRecord(
        0,
        int(time.time() * 1000),
        None if key is None else os.fsencode(key),
        None if file is None else _read_value(file),
        [_parse_header(each) for each in header or ()],
    )
    _print_explanation(_definition(settings, topic), settings, record, 0, None, as_json)


def _definition(settings: Settings, topic: str) -> TopicDefinition:
    definitions = {definition.name: definition for definition in settings.topics}
    if topic not in definitions:
        names = ", ".join(definitions) or "none"
        exit_with_error(f"there is no topic {topic!a} in the settings; there are: {names}")
    return definitions[topic]


def _read_value(file: str) -> bytes:
    try:
        if file == "-":
            return sys.stdin.buffer.read()
        with open(file, "rb") as opened:  # noqa: PTH123 - a path that need not be UTF-8
            return opened.read()
    except (OSError, ValueError) as error:
        exit_with_error(f"cannot read {file!a}: {getattr(error, 'strerror', None) or error}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _parse_header(text: str) -> tuple[str, bytes]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        exit_with_error(f"--header: write NAME=VALUE, not {text!a}", code=2)
    return name, os.fsencode(value)


def _parse_position(text: str) -> tuple[str, int, int]:
    topic, _, numbers = text.partition(":")
    partition, _, offset = numbers.partition(":")
    is_number = all(part.isascii() and part.isdigit() for part in (partition, offset))
    if not topic or not is_number or len(numbers) > 30:  # noqa: PLR2004 - two 64-bit numbers
        exit_with_error(f"--at: write TOPIC:PARTITION:OFFSET, not {text!a}", code=2)
    return topic, int(partition), int(offset)


async def _explain_position(
    settings: Settings,
    position: tuple[str, int, int],
    topic: str | None,
    kafka: str | None,
    as_json: bool,
) -> None:
    name, partition, offset = position
    if topic not in {None, name}:
        exit_with_error(f"--topic: is another one than that of --at, {name!a}", code=2)
    definition = _definition(settings, name)
    record = await _read_record(settings, kafka, definition.kafka_name, partition, offset)
    at = f"{name}:{partition}:{offset}"
    if record is None:
        exit_with_error(f"there is no record at {at}")
    _print_explanation(definition, settings, record, partition, at, as_json)


async def _read_record(
    settings: Settings, kafka: str | None, topic: str, number: int, offset: int
) -> Record | None:
    """Read one committed record; None if there is none at `offset`."""
    from bridge.app.access import build_kafka_access
    from bridge.kafka.client.client import REQUEST_ERRORS, KafkaClient, TopicPartition
    from bridge.kafka.client.records.record_batches import AbortedTransactions, decode_batches

    kafka_settings = settings.kafka
    if kafka is not None:
        kafka_settings = kafka_settings.model_copy(update={"bootstrap_servers": kafka})
    client = KafkaClient(build_kafka_access(kafka_settings))
    try:
        await client.connect()
        described = (await client.describe_topics([topic])).get(topic)
        if described is None or (leader := described.leaders.get(number, -1)) < 0:
            return None
        fetched = await client.fetch(
            *(leader, {TopicPartition(topic, number): offset}, {topic: described.topic_id}),
            max_bytes=settings.limits.batch_bytes,
            wait_ms=0,
        )
    except REQUEST_ERRORS as error:
        exit_with_error(
            f"Kafka at {kafka_settings.bootstrap_servers} cannot be used (--kafka,"
            f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
        )
    finally:
        await client.close()
    for each in fetched:
        aborted = AbortedTransactions(each.aborted_transactions)
        for chunk in decode_batches(each.data, offset, each.high_watermark, aborted):
            for record in chunk.records:
                if record.offset >= offset:
                    return record if record.offset == offset else None
    return None


def _print_explanation(
    definition: TopicDefinition,
    settings: Settings,
    record: Record,
    partition: int,
    at: str | None,
    as_json: bool,
) -> None:
    from bridge.app.decoders import build_explainer

    explained = build_explainer(definition, settings.limits).explain(record, partition, at)
    if as_json:
        out.print(msgspec.json.encode(explained).decode(), markup=False)
        return
    for address in explained.audience.addresses():
        out.print(address, markup=False)
    print_notice(explained.sentence)
