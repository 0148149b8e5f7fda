"""`push-bridge publish`: writes one event to Kafka, not through a bridge."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bridge.cli.output import (
    ConfigOption,
    JsonOption,
    check_servers,
    exit_with_error,
    load_settings_or_exit,
    out,
    run,
)
from bridge.core.protocol.envelope import is_valid_json
from bridge.core.protocol.names import is_valid_name
from bridge.core.protocol.topic_catalogue import TopicCatalogue

if TYPE_CHECKING:
    from bridge.kafka.client.client import KafkaAccess


def publish(
    topic: Annotated[str, typer.Option(help="The topic to write to.")],
    data: Annotated[
        str | None,
        typer.Argument(help="JSON; without it, or with '-', it is read from standard input."),
    ] = None,
    account: Annotated[list[str] | None, typer.Option(help="For this account; repeatable.")] = None,
    room: Annotated[list[str] | None, typer.Option(help="For this room; repeatable.")] = None,
    all: Annotated[bool, typer.Option("--all", help="For everybody.")] = False,
    key: Annotated[str | None, typer.Option(help="The record's key.")] = None,
    type: Annotated[str | None, typer.Option(help="The event's type.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag, passed on untouched.")] = None,
    kafka: Annotated[str | None, typer.Option(help="Brokers; default: from the settings.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an event; print its position once Kafka has acknowledged it."""
    settings = load_settings_or_exit(config)
    check_servers(kafka)
    if not (account or room or all):
        exit_with_error("an event needs an audience: --account, --room or --all", code=2)
    for name in (*(account or ()), *(room or ())):
        if not is_valid_name(name):
            exit_with_error(
                f"not a name of 1 to 200 bytes without control characters: {name!r}", code=2
            )
    raw_data = _read_input() if data is None or data == "-" else os.fsencode(data)
    raw_data = raw_data.strip()
    if not is_valid_json(raw_data):
        exit_with_error("""DATA is not JSON; text needs its own quotes: '"hello"'""", code=2)
    envelope: dict[str, Any] = {"id": uuid.uuid4().hex, "data": msgspec.Raw(raw_data)}
    fields = {"type": type, "tag": tag, "accounts": account, "rooms": room, "all": all}
    envelope |= {name: value for name, value in fields.items() if value}
    from bridge.app.access import build_kafka_access

    kafka_settings = settings.kafka
    if kafka is not None:
        kafka_settings = kafka_settings.model_copy(update={"bootstrap_servers": kafka})
    kafka_names = TopicCatalogue.from_entries(settings.topics).kafka_names
    try:
        record = msgspec.json.encode(envelope)
    except UnicodeEncodeError:
        exit_with_error("--type and --tag must be UTF-8", code=2)
    public_topic, topic = topic, kafka_names.get(topic, topic)
    run(
        _publish_record(
            build_kafka_access(kafka_settings),
            topic,
            record,
            key,
            envelope["id"],
            public_topic,
            as_json,
        )
    )


def _read_input() -> bytes:
    try:
        return sys.stdin.buffer.read()
    except OSError as error:  # a folder, or a terminal that has gone
        exit_with_error(f"cannot read DATA from standard input: {error.strerror}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _publish_record(
    kafka_access: KafkaAccess,
    topic: str,
    record: bytes,
    key: str | None,
    event_id: str,
    public_topic: str,
    as_json: bool,
) -> None:
    from bridge.core.ports import RecordRefused, RecordTooLarge, UnknownTopic
    from bridge.kafka.client.client import REQUEST_ERRORS
    from bridge.kafka.producer import KafkaProducer

    producer = KafkaProducer(kafka_access)
    try:
        await producer.start()
        position = await producer.send(topic, record, key=None if key is None else os.fsencode(key))
    except UnknownTopic:
        exit_with_error(f"there is no topic {topic!r} at {kafka_access.bootstrap_servers}")
    except RecordTooLarge as error:
        exit_with_error(f"the record is too large for Kafka: {error}")
    except RecordRefused as error:
        exit_with_error(f"Kafka refuses the record, nothing was written: {error}")
    except REQUEST_ERRORS as error:
        exit_with_error(
            f"Kafka at {kafka_access.bootstrap_servers} did not accept the record (--kafka,"
            f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
        )
    finally:
        await producer.stop()
    position_text = str(position._replace(topic=public_topic))
    out.print(
        json.dumps({"id": event_id, "at": position_text}) if as_json else position_text,
        markup=False,
    )
