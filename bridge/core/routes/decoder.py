"""Decodes the records of all topics, each topic by its own `TopicDecoder`.

Rule: a record that cannot be decoded is set aside and stops nothing. What a record means is
decided by its topic's decoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.core.protocol.envelope import (
    MAX_ADDRESSES,
    check_value_size,
    decode_by_headers,
    decode_native,
    decode_record,
    parse_traceparent,
    read_control_headers,
)
from bridge.core.protocol.event import Body, InvalidRecord
from bridge.core.protocol.record import DecodedBatch, UndecodableRecord, UnusableRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.core.protocol.event import Event
    from bridge.core.protocol.record import Batch, Record
    from bridge.core.routes.formats import Format


class Filtered(Exception):
    """A route's `when` excludes the record: it is counted, and nothing else."""


class TopicDecoder(Protocol):
    """Decodes the records of one topic."""

    def decode_record(self, record: Record, partition: int) -> Event | None:
        """Return the event of `record`; None if it has no audience.

        Raises:
            InvalidRecord: If the record breaks a rule.
            Filtered: If the topic's route excludes it.
        """

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:
        """Return the ids of schemas that must be fetched before `records` can be decoded."""


class RecordDecoder:
    """Decodes batches. A topic without an own decoder has the default one."""

    def __init__(
        self, default: TopicDecoder, decoders: Mapping[str, TopicDecoder] | None = None
    ) -> None:
        """`decoders` are by public topic."""
        self._default = default
        self._decoders = dict(decoders or {})

    def replace(self, topic: str, decoder: TopicDecoder) -> None:
        """Decode the records of `topic` by `decoder` from now on."""
        self._decoders[topic] = decoder

    def remove(self, topic: str) -> None:
        """Decode the records of `topic` by the default decoder from now on."""
        self._decoders.pop(topic, None)

    def missing_schemas(self, batch: Batch) -> set[int]:
        """Return the ids of schemas that must be fetched before `batch` can be decoded."""
        return self._decoders.get(batch.topic, self._default).missing_schemas(batch.records)

    def decode(self, batch: Batch) -> DecodedBatch:
        """Return the events of `batch`, in its order, and the records that are none."""
        events: list[Event] = []
        unusable: list[UnusableRecord] = []
        filtered = 0
        last_unaddressed: Record | None = None
        partition = batch.partition
        decode_record = self._decoders.get(batch.topic, self._default).decode_record
        for record in batch.records:
            try:
                event = decode_record(record, partition)
            except InvalidRecord as error:
                unusable.append(UnusableRecord(batch.topic, partition, record, error))
            except Filtered:
                filtered += 1
            else:
                if event is not None:
                    events.append(event)
                else:
                    last_unaddressed = record
        unaddressed = len(batch.records) - len(events) - len(unusable) - filtered
        return DecodedBatch(
            *(batch.topic, partition, events, batch.next_offset, unaddressed, unusable),
            filtered,
            last_unaddressed,
        )


class NativeDecoder:
    """Decodes native envelopes in JSON, and records that headers address."""

    def __init__(self, max_bytes: int, max_addresses: int = MAX_ADDRESSES) -> None:
        """`max_bytes` is the most that a record's value may have, `max_addresses` its audience."""
        self._max_bytes = max_bytes
        self._max_addresses = max_addresses

    def decode_record(self, record: Record, partition: int) -> Event | None:  # noqa: ARG002
        """Return the event of `record`; None if it has no audience."""
        return decode_record(record, self._max_bytes, self._max_addresses)

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:  # noqa: ARG002
        """There are no schemas."""
        return set()


class FormatDecoder:
    """Decodes native envelopes in another format than JSON, and records that headers address."""

    def __init__(self, value_format: Format, max_bytes: int, max_addresses: int) -> None:
        """`max_bytes` is the most that a record's value may have, `max_addresses` its audience."""
        self._format = value_format
        self._max_bytes = max_bytes
        self._max_addresses = max_addresses

    def decode_record(self, record: Record, partition: int) -> Event | None:  # noqa: ARG002
        """Return the event of `record`; None if it has no audience."""
        value = check_value_size(record.value, self._max_bytes)
        has_audience, traceparents = read_control_headers(record.headers)
        event: Event | None = None
        if has_audience:
            body, data = (Body.DELETED, b"") if value is None else self._format.data(value)
            event = decode_by_headers(record, body, data, self._max_addresses)
        elif value is not None:
            body, data = self._format.data(value)
            if body is Body.BASE64:
                raise InvalidRecord(
                    "bad_envelope", "bytes are no envelope; address them by headers"
                )
            event = decode_native(record, data, self._max_addresses)
        if traceparents and event is not None:
            event.traceparent = parse_traceparent(traceparents)
        return event

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:
        """Return the ids of schemas that must be fetched before `records` can be decoded."""
        return missing_value_schemas(self._format, records, self._max_bytes)


def missing_value_schemas(
    value_format: Format, records: Iterable[Record], max_bytes: int
) -> set[int]:
    """Return the ids of schemas that `value_format` misses for the values of `records`.

    Values above `max_bytes` are dead whatever their schema is.
    """
    ids: set[int] = set()
    if not value_format.needs_schema:
        return ids
    for record in records:
        if isinstance(record, UndecodableRecord) or record.value is None:
            continue
        if len(record.value) <= max_bytes:
            schema_id = value_format.missing_schema(record.value)
            if schema_id is not None:
                ids.add(schema_id)
    return ids


def native_decoder(max_bytes: int, max_addresses: int = MAX_ADDRESSES) -> RecordDecoder:
    """Return a decoder of native envelopes in JSON, for every topic."""
    return RecordDecoder(NativeDecoder(max_bytes, max_addresses))
