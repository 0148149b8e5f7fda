"""The checks of chaos find what they are for, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.chaos.promises import check_neighbours, check_presence, check_rooms
from tests.journey.bridge_group import TopicRecord

if TYPE_CHECKING:
    from tests.journey.reconnecting_client import ReconnectingClient


def notices(*types: str, instance: str = "blue") -> list[TopicRecord]:
    return [
        TopicRecord(
            None,
            json.dumps({"type": type, "data": {"connection": "c1", "instance": instance}}),
            {},
            0,
        )
        for type in types
    ]


@pytest.mark.parametrize(
    "told",
    [
        ["connected"],
        ["disconnected"],
        ["disconnected", "connected"],
        ["connected", "connected"],
        ["connected", "disconnected", "disconnected"],
        ["connected", "disconnected", "connected", "disconnected"],
    ],
)
def test_presence_that_is_not_told_once_is_a_breach(told: list[str]) -> None:
    assert len([*check_presence(notices(*told), set())]) == 1


def test_only_a_paused_instance_may_tell_of_a_return() -> None:
    told = notices(*["connected", "disconnected"] * 2)
    assert not [*check_presence(told, {"blue"})]
    assert [*check_presence(told, {"green"})]
    assert not [*check_presence(notices("connected", "disconnected"), set())]


def test_an_event_for_a_room_that_was_left_is_a_breach() -> None:
    frames: list[dict[str, Any]] = [
        {"op": "welcome", "rooms": ["a"]},
        {"op": "event", "at": "t:0:1", "to": "room:a"},
        {"op": "rooms", "joined": ["b"], "left": ["a"]},
        {"op": "event", "at": "t:0:2", "to": "room:b"},
        {"op": "event", "at": "t:0:3", "to": "all"},
    ]
    assert not [*check_rooms("c", frames)]
    late = {"op": "event", "at": "t:0:4", "to": "room:a"}
    assert [*check_rooms("c", [*frames, late])] == ["c: t:0:4 came for a, which it is not in"]


def test_a_reader_that_is_closed_as_slow_is_a_breach() -> None:
    class Client:
        name, close_codes = "c", Counter({4002: 1})

    client = cast("ReconnectingClient", Client())
    assert len([*check_neighbours([client])]) == 1
    client.close_codes = Counter({4001: 3})
    assert not [*check_neighbours([client])]
