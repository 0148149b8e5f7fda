"""What the envelope makes of a record, for the tests of the envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.envelope import decode_record
from bridge.core.protocol.event import Event, InvalidRecord

if TYPE_CHECKING:
    from tests.core.factories import ConsumerRecord

MAX_BYTES = 10_000
#: Why a record can be dead: what operators see counted, so nothing else may turn up.
INVALID_REASONS = frozenset(
    {"bad_json", "bad_envelope", "bad_name", "bad_time", "bad_header", "too_large"}
)


def read_outcome(record: ConsumerRecord, max_bytes: int = MAX_BYTES) -> Event | str | None:
    """Return the event that `record` is, or the reason for which it is dead."""
    try:
        return decode_record(record, max_bytes)
    except InvalidRecord as invalid:
        return invalid.reason


def read_event(record: ConsumerRecord) -> Event:
    event = decode_record(record, MAX_BYTES)
    assert event is not None
    return event


def invalid_reason(record: ConsumerRecord, max_bytes: int = MAX_BYTES) -> str:
    with pytest.raises(InvalidRecord) as caught:
        decode_record(record, max_bytes)
    assert str(caught.value)
    return caught.value.reason
