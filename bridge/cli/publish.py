"""`push-bridge publish`: writes events to Kafka, or through a bridge with `--url`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import uuid
from typing import TYPE_CHECKING, Annotated, NamedTuple, Protocol

import msgspec
import typer

from bridge.cli.admin_client import AdminClient, RequestFailed, TokenOption, UrlOption
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
    from collections.abc import AsyncIterator, Iterator, Mapping

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess
    from bridge.kafka.producer import KafkaProducer
    from bridge.web.api.publish import Publication


def publish(
    topic: Annotated[
        str | None, typer.Option(help="The topic to write to.", show_default=False)
    ] = None,
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
    lines: Annotated[
        bool,
        typer.Option(
            "--lines",
            help="Each line of standard input is an event, as POST /v1/events takes it; its fields"
            " win over the options.",
        ),
    ] = False,
    kafka: Annotated[str | None, typer.Option(help="Brokers; default: from the settings.")] = None,
    url: UrlOption = None,
    token: TokenOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write events; print the position of each once Kafka has acknowledged it."""
    settings = load_settings_or_exit(config)
    check_servers(kafka)
    _check_sources(kafka=kafka, url=url, token=token, data=data, lines=lines)
    if not lines and topic is None:
        exit_with_error("--topic: name the topic to write to", code=2)
    if not lines and not (account or room or all):
        exit_with_error("an event needs an audience: --account, --room or --all", code=2)
    for name in (*(account or ()), *(room or ())):
        if not is_valid_name(name):
            exit_with_error(
                f"not a name of 1 to 200 bytes without control characters: {name!r}", code=2
            )
    options: dict[str, object] = {"topic": topic, "key": key, "type": type, "tag": tag}
    options |= {"accounts": account, "rooms": room, "all": all}
    try:
        fields = {name: _encode(value) for name, value in options.items() if value}
    except UnicodeEncodeError:
        exit_with_error("--topic, --key, --type and --tag must be UTF-8", code=2)
    if not lines:
        fields["data"] = _parse_data(data)
    writer: EventWriter = KafkaWriter(settings, kafka)
    if url is not None:
        writer = HttpWriter(AdminClient(settings, url, token))
    run(_write_lines(writer, fields, as_json) if lines else _write_one(writer, fields, as_json))


def _check_sources(
    *, kafka: str | None, url: str | None, token: str | None, data: str | None, lines: bool
) -> None:
    """Exit with 2 if options exclude each other."""
    if url is not None and kafka is not None:
        exit_with_error("--url and --kafka: choose one", code=2)
    if token is not None and url is None:
        exit_with_error("--token: needs --url; Kafka takes no token", code=2)
    if lines and data is not None:
        exit_with_error("--lines: events come from standard input; leave DATA out", code=2)


class Written(NamedTuple):
    """An event that Kafka has acknowledged."""

    id: str
    at: str


class EventWriter(Protocol):
    """Writes events, one after the other."""

    async def write(self, publication: Publication) -> Written:
        """Write one.

        Raises:
            RequestFailed: If it was not written, or it is not known whether it was.
        """

    async def close(self) -> None:
        """Close its connections."""


class KafkaWriter:
    """Writes native envelopes to Kafka, by its public names or Kafka's own."""

    def __init__(self, settings: Settings, bootstrap_servers: str | None) -> None:
        from bridge.app.access import build_kafka_access

        kafka = settings.kafka
        if bootstrap_servers is not None:
            kafka = kafka.model_copy(update={"bootstrap_servers": bootstrap_servers})
        self._servers = kafka.bootstrap_servers
        self._kafka_names = TopicCatalogue.from_entries(settings.topics).kafka_names
        self._access: KafkaAccess = build_kafka_access(kafka)
        self._producer: KafkaProducer | None = None

    async def write(self, publication: Publication) -> Written:
        """Write one event. The first call connects."""
        from bridge.core.ports import RecordRefused, RecordTooLarge, UnknownTopic
        from bridge.kafka.client.client import REQUEST_ERRORS
        from bridge.kafka.producer import KafkaProducer
        from bridge.web.api.publish import encode_envelope

        topic = self._kafka_names.get(publication.topic, publication.topic)
        key = None if publication.key is None else publication.key.encode()
        try:
            if self._producer is None:
                self._producer = KafkaProducer(self._access)
                await self._producer.start()
            position = await self._producer.send(topic, encode_envelope(publication), key=key)
        except UnknownTopic:
            raise RequestFailed(f"there is no topic {topic!r} at {self._servers}") from None
        except RecordTooLarge as error:
            raise RequestFailed(f"the record is too large for Kafka: {error}") from None
        except RecordRefused as error:
            raise RequestFailed(f"Kafka refuses the record, nothing was written: {error}") from None
        except REQUEST_ERRORS as error:
            raise RequestFailed(
                f"Kafka at {self._servers} did not accept the record (--kafka,"
                f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error}"
            ) from None
        return Written(str(publication.id), str(position._replace(topic=publication.topic)))

    async def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            await self._producer.stop()


class HttpWriter:
    """Writes through `POST /v1/events` of a bridge."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    async def write(self, publication: Publication) -> Written:
        """Write one event."""
        body = msgspec.json.encode(
            {
                name: value
                for name, value in msgspec.structs.asdict(publication).items()
                if value is not None and value is not msgspec.UNSET
            }
        )
        response = await asyncio.to_thread(self._client.request, "POST", "v1/events", body)
        return Written(str(response.get("id")), str(response.get("at")))

    async def close(self) -> None:
        """Do nothing: each request has a connection of its own."""


def _encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _parse_data(data: str | None) -> msgspec.Raw:
    """Return DATA, or standard input; exit with 2 if it is not JSON."""
    raw = b"".join(_read_lines()) if data is None or data == "-" else os.fsencode(data)
    if not is_valid_json(raw.strip()):
        exit_with_error("""DATA is not JSON; text needs its own quotes: '"hello"'""", code=2)
    return msgspec.Raw(raw.strip())


def _read_lines() -> Iterator[bytes]:
    try:
        yield from sys.stdin.buffer
    except OSError as error:  # a folder, or a terminal that has gone
        exit_with_error(f"cannot read standard input: {error.strerror}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


async def _write_one(writer: EventWriter, fields: Mapping[str, msgspec.Raw], as_json: bool) -> None:
    async with _closing(writer):
        try:
            _print_written(await writer.write(_parse_fields(fields)), as_json)
        except RequestFailed as error:
            exit_with_error(str(error), code=error.exit_code)


async def _write_lines(
    writer: EventWriter, fields: Mapping[str, msgspec.Raw], as_json: bool
) -> None:
    """Write an event a line, in order; exit with 1 at the first that fails, with its number."""
    decode_line = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    lines = _read_lines()
    async with _closing(writer):
        number = 0
        while (line := await asyncio.to_thread(next, lines, None)) is not None:
            number += 1
            if not line.strip():
                continue
            try:
                line.decode()
                publication = _parse_fields({**fields, **decode_line(line)})
                written = await writer.write(publication)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                exit_with_error(f"line {number}: not a JSON object: {error}")
            except RequestFailed as error:
                exit_with_error(f"line {number}: {error}")
            _print_written(written, as_json)
            out.file.flush()


@contextlib.asynccontextmanager
async def _closing(writer: EventWriter) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await writer.close()


def _parse_fields(fields: Mapping[str, msgspec.Raw]) -> Publication:
    """Return the event; raise `RequestFailed` with exit code 2 if a field is wrong."""
    from bridge.web.api.bodies import InvalidField, InvalidJson
    from bridge.web.api.publish import parse_publication

    try:
        return parse_publication(msgspec.json.encode({"id": uuid.uuid4().hex, **fields}))
    except (InvalidField, InvalidJson) as error:
        raise RequestFailed(str(error), exit_code=2) from None


def _print_written(written: Written, as_json: bool) -> None:
    out.print(json.dumps(written._asdict()) if as_json else written.at, markup=False)
