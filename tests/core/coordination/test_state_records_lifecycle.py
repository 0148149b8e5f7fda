"""What backends are told about clients, as no client ever is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Present
from bridge.core.protocol import envelope
from tests.core.facts import SINCE, present, presents
from tests.core.given import record

if TYPE_CHECKING:
    from bridge.core.coordination.state_records import Notice

ABOUT = {"connection": "c1", "account": "ann", "instance": "i1", "address": "192.0.2.7"}


def read(notice: Notice) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(notice.value)
    return value


def test_who_has_come_is_told_with_where() -> None:
    notice = state_records.connected(present("c1", ("r",), ("orders",)))
    assert (notice.key, read(notice)) == (b"ann", {"type": "connected", "data": ABOUT})


def test_who_has_gone_is_told_with_how() -> None:
    notice = state_records.disconnected(present("c1"), 4504, "disconnected by the backend")
    data = {**ABOUT, "code": 4504, "reason": "disconnected by the backend"}
    assert (notice.key, read(notice)) == (b"ann", {"type": "disconnected", "data": data})
    assert "reason" not in read(state_records.disconnected(present("c1"), 1000))["data"]


def test_what_is_not_known_of_a_client_is_not_told() -> None:
    notice = state_records.connected(Present("c1", "i1", "b", None, "", SINCE))
    assert notice.key is None
    assert read(notice)["data"] == {"connection": "c1", "instance": "i1"}


@pytest.mark.parametrize("kind", ["room", "topic"])
def test_a_place_is_told_under_its_own_name(kind: str) -> None:
    assert state_records.occupied(kind, "it").key == state_records.vacated(kind, "it").key == b"it"
    assert read(state_records.occupied(kind, "it")) == {"type": "occupied", "data": {kind: "it"}}
    assert read(state_records.vacated(kind, "it")) == {"type": "vacated", "data": {kind: "it"}}


@given(presents)
def test_it_is_an_envelope_for_nobody(it: Present) -> None:
    for notice in (
        state_records.connected(it),
        state_records.disconnected(it, state_records.LOST, "its instance is gone"),
        state_records.occupied("room", it.id),
    ):
        assert envelope.read(record(notice.value), 10_000) is None
