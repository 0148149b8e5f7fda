"""Routes of the settings, applied to single records."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from bridge.app.decoders import build_topic_decoder
from bridge.config.settings import LimitSettings
from bridge.config.topics import TopicDefinition
from bridge.core.protocol.event import Event, InvalidRecord
from bridge.core.routes.decoder import Filtered

LIMITS = LimitSettings(event_bytes=10_000, audience=50)


class KafkaRecord(NamedTuple):
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 7
    timestamp: int = 1_700_000_000_000


def decoder(route: Any, **topic: Any) -> Any:
    """The decoder of a topic `t` with `route`."""
    return build_topic_decoder(TopicDefinition(name="t", route=route, **topic), LIMITS)


def apply(route: Any, record: KafkaRecord, partition: int = 3, **topic: Any) -> Any:
    """The event, None, `filtered`, or the reason for which the record is dead."""
    try:
        event: Event | None = decoder(route, **topic).decode_record(record, partition)
    except InvalidRecord as error:
        return error.reason
    except Filtered:
        return "filtered"
    return event


def of(value: Any, key: str | None = None, **headers: str) -> KafkaRecord:
    """A record with this JSON as its value."""
    pairs = tuple((name, text.encode()) for name, text in headers.items())
    return KafkaRecord(None if key is None else key.encode(), json.dumps(value).encode(), pairs)


def names(route: Any, record: KafkaRecord, **topic: Any) -> Any:
    """Its rooms, or why there are none."""
    is_route = isinstance(route, dict) and "jmespath" not in route
    outcome = apply(route if is_route else {"rooms": route}, record, **topic)
    return list(outcome.rooms) if isinstance(outcome, Event) else outcome
