"""What the schemas say of records, the bridge's own door to them says too."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, given, settings

from bridge.core.protocol import envelope, frames
from bridge.core.protocol.event import InvalidRecord
from tests.contract.examples import Example, examples, parametrize_examples, read_json
from tests.core.factories import ConsumerRecord, record
from tests.core.strategies import records
from tests.harness.frame_schemas import read_frame, schema_validator

LIMIT: Final = 1_000_000
AUDIENCE: Final = ("accounts", "rooms", "connections", "all")
ADDRESSES: Final = (
    frames.TO_CONNECTION,
    frames.TO_ACCOUNT,
    frames.TO_ALL,
    frames.to_for_room("order:42"),
)
SAME: Final = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.filter_too_much]
)
# Only text can be a header at all; the schema also refuses what no producer can write.
WRONG_HEADERS: Final = [
    example
    for example in examples("headers", "invalid")
    if isinstance(example.value, dict)
    and all(isinstance(text, str) for text in example.value.values())
]


def with_headers(example: Example) -> ConsumerRecord:
    """Return a record with these headers, which Kafka holds as bytes."""
    pairs = example.value.items()
    headers = [(name, None if text is None else text.encode()) for name, text in pairs]
    return record(b'{"order": 42}', *headers)


def frames_of(it: ConsumerRecord) -> list[dict[str, Any]]:
    """Return the frames that `it` gives, one to each kind of address, checked."""
    event = envelope.decode_record(it, LIMIT)
    if event is None:
        return []
    made = frames.build_event_frame("orders", 3, event)
    return [read_frame(made.encode(address)) for address in ADDRESSES]


@parametrize_examples("valid", "envelope")
def test_a_valid_envelope_gives_frames_that_validate(example: Example) -> None:
    found = frames_of(record(example.text))
    assert bool(found) is any(example.value.get(name) for name in AUDIENCE)
    for frame in found:
        assert frame["data"] == example.value.get("data")
        assert frame.get("meta") == example.value.get("meta")


@parametrize_examples("invalid", "envelope")
def test_an_invalid_envelope_is_dead(example: Example) -> None:
    with pytest.raises(InvalidRecord):
        envelope.decode_record(record(example.text), LIMIT)


@parametrize_examples("valid", "headers")
def test_valid_headers_give_frames_that_validate(example: Example) -> None:
    found = frames_of(with_headers(example))
    assert [frame["to"] for frame in found] == ["connection", "account", "all", "room:order:42"]
    assert all(frame["data"] == {"order": 42} for frame in found)


@pytest.mark.parametrize("example", WRONG_HEADERS, ids=[each.name for each in WRONG_HEADERS])
def test_invalid_headers_make_a_record_dead(example: Example) -> None:
    with pytest.raises(InvalidRecord):
        envelope.decode_record(with_headers(example), LIMIT)


@parametrize_examples("valid", "lifecycle")
def test_a_lifecycle_event_is_a_native_envelope_for_nobody(example: Example) -> None:
    assert envelope.decode_record(record(example.text), LIMIT) is None
    assert schema_validator("envelope").is_valid(example.value)


@SAME
@given(records)
def test_whatever_a_record_becomes_its_frames_validate(it: ConsumerRecord) -> None:
    try:
        frames_of(it)
    except InvalidRecord:
        assume(False)


@SAME
@given(records)
def test_an_envelope_that_the_schema_admits_is_not_dead(it: ConsumerRecord) -> None:
    assume(it.value is not None and not it.headers)
    try:
        value = read_json(it.value or b"")
    except ValueError:
        value = None
    assume(schema_validator("envelope").is_valid(value))
    envelope.decode_record(it, LIMIT)
