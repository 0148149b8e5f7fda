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


def test_a_kafka_topic_is_always_read_if_one_name_is() -> None:
    both = topics({"name": "a", "kafka": "t", "on_demand": True}, {"name": "b", "kafka": "t"})
    catalogue = TopicCatalogue.from_entries(both)
    assert catalogue.public_names == {"t": ("a", "b")}
    assert catalogue.kafka_names == {"a": "t", "b": "t"}
    assert (catalogue.linger_seconds, catalogue.on_demand_topics) == ({}, [])


def test_the_longest_linger_time_of_several_names_counts() -> None:
    entry = {"kafka": "t", "on_demand": True}
    both = topics(
        {"name": "a", "linger_seconds": 60, **entry}, {"name": "b", "linger_seconds": 5, **entry}
    )
    assert TopicCatalogue.from_entries(both).linger_seconds == {"t": 60}


def test_an_alias_is_every_public_name_but_the_first() -> None:
    entries = topics({"name": "a", "kafka": "t"}, {"name": "b", "kafka": "t"}, "t", "alone")
    catalogue = TopicCatalogue.from_entries(entries)
    names = ("a", "b", "t", "alone", "unknown")
    assert [name for name in names if catalogue.is_alias(name)] == ["b", "t"]


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
