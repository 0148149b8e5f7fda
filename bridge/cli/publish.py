"""`push-bridge publish`: writes one event to Kafka."""

from __future__ import annotations

import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from bridge.cli.output import ConfigOption, JsonOption, out, refuse, run, settings_or_exit
from bridge.core.protocol.envelope import is_json
from bridge.core.protocol.names import is_name

if TYPE_CHECKING:
    from bridge.kafka.client.client import Access


def publish(
    topic: Annotated[str, typer.Option(help="The topic to write to.")],
    data: Annotated[
        str | None, typer.Argument(help="JSON; '-' or nothing reads standard input.")
    ] = None,
    account: Annotated[list[str] | None, typer.Option(help="For this account; repeatable.")] = None,
    room: Annotated[list[str] | None, typer.Option(help="For this room; repeatable.")] = None,
    all: Annotated[bool, typer.Option("--all", help="For everybody.")] = False,
    key: Annotated[str | None, typer.Option(help="The record's key.")] = None,
    type: Annotated[str | None, typer.Option(help="The event's type.")] = None,
    tag: Annotated[str | None, typer.Option(help="A tag, passed on untouched.")] = None,
    kafka: Annotated[str | None, typer.Option(help="Brokers, where not the settings' own.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an event; print its position once Kafka has acknowledged it."""
    settings = settings_or_exit(config)
    if not (account or room or all):
        refuse("an event without an audience reaches nobody: --account, --room or --all", code=2)
    for name in (*(account or ()), *(room or ())):
        if not is_name(name):
            refuse(f"not a name of 1 to 200 bytes without control characters: {name!r}", code=2)
    raw = sys.stdin.buffer.read() if data is None or data == "-" else os.fsencode(data)
    raw = raw.strip()
    if not is_json(raw):
        refuse("""DATA is not JSON; text has quotes of its own: '"hello"'""", code=2)
    envelope: dict[str, Any] = {"id": uuid.uuid4().hex, "data": msgspec.Raw(raw)}
    given = {"type": type, "tag": tag, "accounts": account, "rooms": room, "all": all}
    envelope |= {name: value for name, value in given.items() if value}
    from bridge.app.instance import access

    connection = settings.kafka
    if kafka is not None:
        connection = connection.model_copy(update={"bootstrap_servers": kafka})
    names = {configured.name: configured.kafka_name for configured in settings.topics}
    try:
        record = msgspec.json.encode(envelope)
    except UnicodeEncodeError:
        refuse("--type and --tag are UTF-8", code=2)
    public, topic = topic, names.get(topic, topic)
    run(_write(access(connection), topic, record, key, envelope["id"], public, as_json))


async def _write(
    reach: Access, topic: str, record: bytes, key: str | None, id: str, public: str, as_json: bool
) -> None:
    from bridge.core.ports import NoTopic, TooLarge
    from bridge.kafka.client.client import OUT_OF_REACH
    from bridge.kafka.producer import Producer

    producer = Producer(reach)
    try:
        await producer.start()
        at = await producer.write(topic, record, key=None if key is None else os.fsencode(key))
    except NoTopic:
        refuse(f"there is no topic {topic!r} at {reach.bootstrap_servers}")
    except TooLarge as error:
        refuse(f"Kafka takes no record that large: {error}")
    except OUT_OF_REACH as error:
        refuse(
            f"Kafka at {reach.bootstrap_servers} did not take it (--kafka,"
            f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
        )
    finally:
        await producer.stop()
    told = str(at._replace(topic=public))
    out.print(json.dumps({"id": id, "at": told}) if as_json else told, markup=False)
