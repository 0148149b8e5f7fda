"""The topics as the settings describe them, and which of Kafka's are read on demand."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.config.topics import (
    TopicDefinition,
    TopicDefinitions,
    linger_seconds_by_on_demand_topic,
    public_names_by_kafka_topic,
)


def topics(*entries: object) -> list[TopicDefinition]:
    return TypeAdapter(TopicDefinitions).validate_python(entries)


def test_a_topic_is_always_read_unless_it_says_otherwise() -> None:
    plain, rare, slow = topics(
        "orders",
        {"name": "rare", "on_demand": True},
        {"name": "slow", "kafka": "shop.slow", "on_demand": True, "linger_seconds": 0.5},
    )
    assert (plain.on_demand, rare.linger_seconds) == (False, 30)
    assert linger_seconds_by_on_demand_topic([plain, rare, slow]) == {"rare": 30, "shop.slow": 0.5}


def test_what_one_entry_always_reads_is_always_read() -> None:
    both = topics({"name": "a", "kafka": "t", "on_demand": True}, {"name": "b", "kafka": "t"})
    assert public_names_by_kafka_topic(both) == {"t": ["a", "b"]}
    assert linger_seconds_by_on_demand_topic(both) == {}


def test_what_has_several_entries_lingers_for_the_longest() -> None:
    entry = {"kafka": "t", "on_demand": True}
    both = topics(
        {"name": "a", "linger_seconds": 60, **entry}, {"name": "b", "linger_seconds": 5, **entry}
    )
    assert linger_seconds_by_on_demand_topic(both) == {"t": 60}


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "soon"])
def test_a_time_to_linger_that_is_none_is_refused(seconds: object) -> None:
    with pytest.raises(ValidationError, match="linger_seconds"):
        topics({"name": "a", "on_demand": True, "linger_seconds": seconds})
