"""What the schemas say of the bridge's own topics, its own readers and writers say too."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings

from bridge.core.coordination import commands, state_records
from bridge.core.protocol.event import InvalidRecord
from tests.contract.examples import Example, examples, parametrize_examples
from tests.core.factories import TIMESTAMP_TEXT, record
from tests.core.state_record_factories import any_state_record, present_records
from tests.harness.frame_schemas import schema_validator

LIMIT: Final = 1_000_000
SAME: Final = settings(deadline=None, derandomize=True)


# -- control ---------------------------------------------------------------------------------------


@parametrize_examples("valid", "control")
def test_a_valid_command_is_obeyed_as_it_was_written(example: Example) -> None:
    told = commands.decode(record(example.text), LIMIT)
    written = json.loads(commands.encode(told))
    expected = {name: example.value[name] for name in written.keys() & example.value.keys()}
    assert written == {"do": example.value["do"], **expected} | (
        {"before": written["before"]} if example.value["do"] == "revoke" else {}
    )
    schema_validator("control").validate(written)


def test_a_revocation_is_of_what_was_issued_before_it_unless_it_says_otherwise() -> None:
    befores = {
        example.name.rpartition("/")[2]: commands.decode(record(example.text), LIMIT)
        for example in examples("control", "valid")
        if example.value["do"] == "revoke"
    }
    assert befores == {
        "revoke": commands.Revoke("alice", TIMESTAMP_TEXT),
        "revoke-before": commands.Revoke("alice", "2026-11-21T09:00:00Z"),
    }


@parametrize_examples("invalid", "control")
def test_an_invalid_command_is_dead(example: Example) -> None:
    with pytest.raises(InvalidRecord):
        commands.decode(record(example.text), LIMIT)


# -- state -----------------------------------------------------------------------------------------


def key_of(fact: dict[str, Any]) -> bytes:
    """Return the key under which the schema says that a fact stands."""
    names = {
        "member": ("account", "room"),
        "title": ("room",),
        "revoked": ("account",),
        "instance": ("instance",),
        "connection": ("id",),
        "occupied": ("kind", "name"),
        "group": ("instance",),
        "folded": (),
    }[fact["is"]]
    return ",".join([fact["is"], *(fact[name] for name in names)]).encode()


@parametrize_examples("valid", "state")
def test_a_valid_fact_is_read_and_written_alike(example: Example) -> None:
    fact = state_records.decode(record(example.text)._replace(key=key_of(example.value)))
    assert not isinstance(fact, state_records.Tombstone)
    written = json.loads(state_records.encode(fact))
    assert written == {name: example.value[name] for name in written}


@SAME
@given(any_state_record)
def test_whatever_the_bridge_keeps_the_schema_admits(fact: state_records.StateRecord) -> None:
    written = json.loads(state_records.encode(fact))
    schema_validator("state").validate(written)
    assert key_of(written) == state_records.record_key(fact)


# -- lifecycle -------------------------------------------------------------------------------------


@SAME
@given(present_records)
def test_whatever_backends_are_told_of_a_client_the_schema_admits(
    it: state_records.ConnectionPresence,
) -> None:
    for notice in (
        state_records.connected_record(it),
        state_records.disconnected_record(it, state_records.ABNORMAL_CLOSURE),
        state_records.disconnected_record(it, 4504, "disconnected by the backend"),
    ):
        schema_validator("lifecycle").validate(json.loads(notice.value))


@pytest.mark.parametrize("tell", [state_records.occupied_record, state_records.vacated_record])
@pytest.mark.parametrize("place", [("room", "order:42"), ("topic", "orders")])
def test_whatever_backends_are_told_of_a_place_the_schema_admits(tell: Any, place: Any) -> None:
    schema_validator("lifecycle").validate(json.loads(tell(*place).value))
