"""Keys and values of the state topic. Foreign records are invalid."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import (
    Checkpoint,
    InstanceHeartbeat,
    Membership,
    Occupancy,
    RoomTitle,
    StateRecord,
    TokenRevocation,
    Tombstone,
)
from bridge.core.protocol.event import InvalidRecord
from bridge.core.sessions.session import MembershipSource
from tests.core.factories import record, session
from tests.core.state_record_factories import (
    BOOT,
    SINCE,
    alive_record,
    any_state_record,
    present_record,
)
from tests.core.strategies import corrupted

KEYS: list[tuple[StateRecord, bytes, tuple[str, ...]]] = [
    (Membership("ann", "order:42"), b"member,ann,order:42", ("ann", "order:42")),
    (RoomTitle("order:42", "Order 42"), b"title,order:42", ("order:42",)),
    (TokenRevocation("ann", SINCE), b"revoked,ann", ("ann",)),
    (alive_record("i1"), b"instance,i1", ("i1",)),
    (present_record("c1"), b"connection,c1", ("c1",)),
    (Occupancy("room", "order:42"), b"occupied,room,order:42", ("room", "order:42")),
    (Occupancy("topic", "orders"), b"occupied,topic,orders", ("topic", "orders")),
    (Checkpoint(17), b"folded", ()),
]


def kafka_record(value: bytes | None, key: bytes | None) -> Any:
    return record(value)._replace(key=key)


@pytest.mark.parametrize(("fact", "key", "names"), KEYS)
def test_the_key_has_the_kind_and_the_names(
    fact: StateRecord, key: bytes, names: tuple[str, ...]
) -> None:
    assert state_records.record_key(fact) == key
    assert state_records.decode(kafka_record(state_records.encode(fact), key)) == fact
    assert state_records.decode(kafka_record(None, key)) == Tombstone(
        key.decode().split(",")[0], names
    )


def test_two_valid_state_records_have_two_keys() -> None:
    assert len({key for _, key, _ in KEYS}) == len(KEYS)


@given(any_state_record)
def test_encoding_and_decoding_changes_nothing(fact: StateRecord) -> None:
    assert (
        state_records.decode(
            kafka_record(state_records.encode(fact), state_records.record_key(fact))
        )
        == fact
    )
    gone = state_records.decode(kafka_record(None, state_records.record_key(fact)))
    assert isinstance(gone, Tombstone)
    assert ",".join([gone.kind, *gone.names]).encode() == state_records.record_key(fact)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"nonsense", b"folded"),
        (b"", b"folded"),
        (b"[]", b"folded"),
        (b'{"is": "friend"}', b"friend"),
        (b'{"is": "folded", "offset": "17"}', b"folded"),
        (b'{"is": "folded", "offset": 17}', b"folded,17"),
        (b'{"is": "folded", "offset": 17}', None),
        (b'{"is": "title", "room": "r", "title": "t"}', b"title,s"),
        (b'{"is": "title", "room": "r", "title": "\xff"}', b"title,r"),
        (None, None),
        (None, b""),
        (None, b"friend,ann"),
        (None, b"member,ann"),
        (None, b"member,ann,r,s"),
        (None, b"folded,17"),
        (None, b"title,\xff"),
    ],
)
def test_a_record_that_is_not_the_bridges_is_rejected(
    value: bytes | None, key: bytes | None
) -> None:
    with pytest.raises(InvalidRecord) as dead:
        state_records.decode(kafka_record(value, key))
    assert dead.value.reason == "bad_state"


@given(
    corrupted(any_state_record.map(state_records.encode)),
    corrupted(any_state_record.map(state_records.record_key)),
    st.booleans(),
)
def test_any_bytes_are_a_state_record_or_an_invalid_record(
    value: bytes, key: bytes, taken_back: bool
) -> None:
    try:
        told = state_records.decode(kafka_record(None if taken_back else value, key))
    except InvalidRecord:
        return
    if isinstance(told, Tombstone):
        assert taken_back
    else:
        assert state_records.record_key(told) == key


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    value = b'{"is": "folded", "offset": 17, "by": "bridge-1"}'
    assert state_records.decode(kafka_record(value, b"folded")) == Checkpoint(17)


def test_a_session_is_described_for_backends() -> None:
    it = session(
        "c1",
        "ann",
        topics=["orders", "news"],
        rooms={"s": MembershipSource.OWN, "r": MembershipSource.ACCOUNT},
    )
    it.client_address, it.connected_at = "192.0.2.7", 1_795_000_000.1239
    expected = present_record("c1", ("r", "s"), ("news", "orders"))
    assert state_records.describe_connection(it, "i1", BOOT) == expected
    it = session("c2", None, topics=(), types=["order.*", "a", "a"])
    told = state_records.describe_connection(it, "i1", BOOT)
    assert (told.account, told.rooms, told.topics) == (None, [], [])
    assert told.types == ["order.*", "a"]


def test_an_instance_is_ready_and_empty_by_default() -> None:
    assert (InstanceHeartbeat("i1", BOOT, SINCE, SINCE).ready, alive_record().connections) == (
        True,
        0,
    )
