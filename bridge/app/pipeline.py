"""The record pipeline: from the consumer through the decoder and the hub to the connections.

Rule: nothing is decided here. Records of the bridge's own topics go to the command consumer.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.core.protocol import close_codes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.coordination.commands import CommandConsumer
    from bridge.core.protocol.event import Event
    from bridge.core.protocol.record import Batch, DecodedBatch, UnusableRecord
    from bridge.core.routes.decoder import RecordDecoder
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import ExpiryTimers
    from bridge.web.connections.flushing import Flusher


_log = logging.getLogger(__name__)

UNADDRESSED_REPORT_SECONDS: Final = 60.0
_MAX_FIELDS: Final = 20
_MAX_FIELD_CHARACTERS: Final = 40
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class UnaddressedLog:
    """Says once per topic and minute that records name no audience, with fields of the last one.

    Nobody gets them, and often that is a mistake: `account` for `accounts`, or no route.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a monotonic clock."""
        self._now = now
        self._logged_at: dict[str, float] = {}
        self._counts: Counter[str] = Counter()

    def add(self, batch: DecodedBatch) -> None:
        """Count the records of `batch` that name nobody, and log them if a minute has passed."""
        topic, now = batch.topic, self._now()
        self._counts[topic] += batch.unaddressed
        logged_at = self._logged_at.get(topic)
        record = batch.last_unaddressed
        if record is None or (
            logged_at is not None and now - logged_at < UNADDRESSED_REPORT_SECONDS
        ):
            return
        self._logged_at[topic] = now
        _log.info(
            "records name no audience, so nobody gets them: add accounts, rooms or all to the"
            " envelope, or give the topic a route topic=%s count=%d last=%s:%d:%d fields=%s",
            *(topic, self._counts.pop(topic), topic, batch.partition, record.offset),
            ",".join(field_names(record.value)) or "none",
        )


def field_names(value: bytes | None) -> list[str]:
    """Return names of the top-level fields of a JSON object, at most 20 of 40 characters each."""
    try:
        names = _decode_fields(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []
    short = [name[:_MAX_FIELD_CHARACTERS] for name in islice(names, _MAX_FIELDS)]
    return [name if name.isprintable() else ascii(name)[1:-1] for name in short]


#: Of a larger batch only the latency of the first and the last event is observed.
_MAX_FULLY_SAMPLED: Final = 2


class Pipeline:
    """Takes what the consumer reads, and delivers it. Topics are the public ones."""

    def __init__(
        self,
        decoder: RecordDecoder,
        hub: Hub,
        expiry: ExpiryTimers,
        flusher: Flusher,
        add_dead_letter: Callable[[UnusableRecord], None],
        *,
        command_consumer: CommandConsumer | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` returns seconds since 1970, the clock of record timestamps."""
        self._decoder = decoder
        self._hub = hub
        self._expiry = expiry
        self._flusher = flusher
        self._add_dead_letter = add_dead_letter
        self._command_consumer = command_consumer
        self._bridge_topics = command_consumer.consumed_topics if command_consumer else ()
        self._wall_clock = wall_clock
        self._unaddressed_log = UnaddressedLog()

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Reading `topic` starts at `offsets`, or partitions were added at these."""
        if self._command_consumer is not None and topic in self._bridge_topics:
            self._command_consumer.start_topic(topic, topic_id)
            return
        self._hub.set_start_offsets(topic, topic_id, offsets)
        self._flusher.flush()

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Records of `topic` below `offsets` cannot be read any more."""
        if self._command_consumer is not None and topic in self._bridge_topics:
            self._command_consumer.report_gap(topic, reason)
            return
        self._hub.skip_unreadable(topic, reason, offsets)
        self._flusher.flush()

    def set_waiting(
        self, topic: str, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        """Partitions of `topic` wait for a leader: all of `since`, none if it is empty."""
        self._hub.set_waiting(topic, topic_id, since, unread)

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Reading an on-demand topic has stopped until it has a subscriber again."""
        self._hub.on_demand.deactivate(topic, topic_id)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Decode `batches`, deliver them to sessions, and flush the connections once.

        Cancellation: what was not flushed stays in the outboxes.
        """
        self._expiry.close_expired()
        delivered: list[Event] = []
        for batch in batches:
            if self._command_consumer is not None and batch.topic in self._bridge_topics:
                self._command_consumer.apply(batch)
                continue
            decoded = self._decoder.decode(batch)
            if decoded.unaddressed:
                self._unaddressed_log.add(decoded)
            for unusable_record in decoded.unusable:
                self._add_dead_letter(unusable_record)
            delivered_before, events = self._hub.events_delivered, decoded.events
            self._hub.deliver_batch(decoded)
            if self._hub.events_delivered > delivered_before:
                is_small = len(events) <= _MAX_FULLY_SAMPLED
                delivered += events if is_small else (events[0], events[-1])
        await self._flusher.flush_in_batches()
        now = self._wall_clock()
        for event in delivered:
            self._hub.counters.latency_seconds.observe(max(0.0, now - event.timestamp / 1000))

    def close_overloaded(self, session: Session) -> None:
        """Close a session that has waited too long for its replay."""
        self._hub.close(session, close_codes.OVERLOADED)
        self._flusher.flush()
