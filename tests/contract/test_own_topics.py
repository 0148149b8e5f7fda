"""What the schemas say of the bridge's own topics, its own readers and writers say too."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings

from bridge.core.coordination import commands, state_records
from bridge.core.protocol.event import Dead
from tests.contract.examples import Example, each, examples
from tests.core.facts import facts, presents
from tests.core.given import TIMESTAMP_TEXT, record
from tests.harness.frames import compiled

LIMIT: Final = 1_000_000
SAME: Final = settings(deadline=None, derandomize=True)


# -- control ---------------------------------------------------------------------------------------


@each("valid", "control")
def test_a_valid_command_is_obeyed_as_it_was_written(example: Example) -> None:
    told = commands.read(record(example.text), LIMIT)
    written = json.loads(commands.write(told))
    expected = {name: example.value[name] for name in written.keys() & example.value.keys()}
    assert written == {"do": example.value["do"], **expected} | (
        {"before": written["before"]} if example.value["do"] == "revoke" else {}
    )
    compiled("control").validate(written)


def test_a_revocation_is_of_what_was_issued_before_it_unless_it_says_otherwise() -> None:
    befores = {
        example.name.rpartition("/")[2]: commands.read(record(example.text), LIMIT)
        for example in examples("control", "valid")
        if example.value["do"] == "revoke"
    }
    assert befores == {
        "revoke": commands.Revoke("alice", TIMESTAMP_TEXT),
        "revoke-before": commands.Revoke("alice", "2026-11-21T09:00:00Z"),
    }


@each("invalid", "control")
def test_an_invalid_command_is_dead(example: Example) -> None:
    with pytest.raises(Dead):
        commands.read(record(example.text), LIMIT)


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
        "folded": (),
    }[fact["is"]]
    return ",".join([fact["is"], *(fact[name] for name in names)]).encode()


@each("valid", "state")
def test_a_valid_fact_is_read_and_written_alike(example: Example) -> None:
    fact = state_records.read(record(example.text)._replace(key=key_of(example.value)))
    assert not isinstance(fact, state_records.Gone)
    written = json.loads(state_records.write(fact))
    assert written == {name: example.value[name] for name in written}


@SAME
@given(facts)
def test_whatever_the_bridge_keeps_the_schema_admits(fact: state_records.Fact) -> None:
    written = json.loads(state_records.write(fact))
    compiled("state").validate(written)
    assert key_of(written) == state_records.key(fact)


# -- lifecycle -------------------------------------------------------------------------------------


@SAME
@given(presents)
def test_whatever_backends_are_told_of_a_client_the_schema_admits(
    it: state_records.Present,
) -> None:
    for notice in (
        state_records.connected(it),
        state_records.disconnected(it, state_records.LOST),
        state_records.disconnected(it, 4504, "disconnected by the backend"),
    ):
        compiled("lifecycle").validate(json.loads(notice.value))


@pytest.mark.parametrize("tell", [state_records.occupied, state_records.vacated])
@pytest.mark.parametrize("place", [("room", "order:42"), ("topic", "orders")])
def test_whatever_backends_are_told_of_a_place_the_schema_admits(tell: Any, place: Any) -> None:
    compiled("lifecycle").validate(json.loads(tell(*place).value))
