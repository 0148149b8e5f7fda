"""Topic definitions, and the catalogue of both names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.config.topics import TopicDefinition, TopicDefinitions
from bridge.core.protocol.topic_catalogue import TopicCatalogue


def topics(*entries: object) -> list[TopicDefinition]:
    return TypeAdapter(TopicDefinitions).validate_python(entries)


def test_a_topic_is_always_read_by_default() -> None:
    plain, rare, slow = topics(
        "orders",
        {"name": "rare", "on_demand": True},
        {"name": "slow", "kafka": "shop.slow", "on_demand": True, "linger_seconds": 0.5},
    )
    assert (plain.on_demand, rare.linger_seconds) == (False, 30)
    catalogue = TopicCatalogue.from_entries([plain, rare, slow])
    assert catalogue.linger_seconds == {"rare": 30, "shop.slow": 0.5}
    assert catalogue.on_demand_topics == ["rare", "slow"]


def test_each_name_leads_to_the_other() -> None:
    catalogue = TopicCatalogue.from_entries(topics({"name": "a", "kafka": "t"}, "b"))
    assert catalogue.kafka_names == {"a": "t", "b": "b"}
    assert catalogue.public_names == {"t": "a", "b": "b"}


@pytest.mark.parametrize(
    ("setting", "name", "answer"),
    [
        ("format", "jsn", "did you mean json?"),
        ("format", "int", "known: json, text, bytes"),
        ("key_format", "txt", "did you mean text?"),
    ],
)
def test_an_unknown_format_is_named_with_the_nearest(setting: str, name: str, answer: str) -> None:
    with pytest.raises(ValidationError, match=f"{setting}: there is no format '{name}'.*{answer}"):
        topics({"name": "a", setting: name})


def test_a_catalogue_cannot_be_changed() -> None:
    catalogue = TopicCatalogue.from_entries(topics({"name": "a", "private": True}))
    assert catalogue.is_private == {"a": True}
    maps: list[Any] = [
        *(catalogue.kafka_names, catalogue.public_names),
        *(catalogue.is_private, catalogue.linger_seconds),
    ]
    for each in maps:
        with pytest.raises(TypeError):
            each["b"] = "t"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "soon"])
def test_an_invalid_linger_time_is_rejected(seconds: object) -> None:
    with pytest.raises(ValidationError, match="linger_seconds"):
        topics({"name": "a", "on_demand": True, "linger_seconds": seconds})
