"""Records of the lifecycle topic, which only backends read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence
from bridge.core.protocol import envelope
from tests.core.factories import record
from tests.core.state_record_factories import SINCE, present_record, present_records

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import LifecycleRecord

ABOUT = {"connection": "c1", "account": "ann", "instance": "i1", "address": "192.0.2.7"}


def read(notice: LifecycleRecord) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(notice.value)
    return value


def test_a_connected_record_has_instance_and_address() -> None:
    notice = state_records.connected_record(present_record("c1", ("r",), ("orders",)))
    assert (notice.key, read(notice)) == (b"ann", {"type": "connected", "data": ABOUT})


def test_a_disconnected_record_has_code_and_reason() -> None:
    notice = state_records.disconnected_record(
        present_record("c1"), 4504, "disconnected by the backend"
    )
    data = {**ABOUT, "code": 4504, "reason": "disconnected by the backend"}
    assert (notice.key, read(notice)) == (b"ann", {"type": "disconnected", "data": data})
    assert (
        "reason" not in read(state_records.disconnected_record(present_record("c1"), 1000))["data"]
    )


def test_unknown_fields_of_a_client_are_absent() -> None:
    notice = state_records.connected_record(ConnectionPresence("c1", "i1", "b", None, "", SINCE))
    assert notice.key is None
    assert read(notice)["data"] == {"connection": "c1", "instance": "i1"}


@pytest.mark.parametrize("kind", ["room", "topic"])
def test_occupancy_records_are_keyed_by_room_or_topic(kind: str) -> None:
    assert (
        state_records.occupied_record(kind, "it").key
        == state_records.vacated_record(kind, "it").key
        == b"it"
    )
    assert read(state_records.occupied_record(kind, "it")) == {
        "type": "occupied",
        "data": {kind: "it"},
    }
    assert read(state_records.vacated_record(kind, "it")) == {
        "type": "vacated",
        "data": {kind: "it"},
    }


@given(present_records)
def test_a_lifecycle_record_is_an_envelope_without_audience(it: ConnectionPresence) -> None:
    for notice in (
        state_records.connected_record(it),
        state_records.disconnected_record(
            it, state_records.ABNORMAL_CLOSURE, "its instance is gone"
        ),
        state_records.occupied_record("room", it.id),
    ):
        assert envelope.decode_record(record(notice.value), 10_000) is None
