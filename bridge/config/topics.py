"""The topics that clients may subscribe to, as the settings describe them.

Rule: an entry is a public name for one of Kafka's topics, which may have several. Kafka's topic is
read for all of them, so it is read on demand only where all of them are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.core.protocol.names import is_valid_topic

if TYPE_CHECKING:
    from collections.abc import Iterable


class TopicDefinition(BaseModel):
    """One topic that clients may subscribe to."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    kafka: str = ""
    private: bool = False
    on_demand: bool = False
    linger_seconds: float = Field(30, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in (self.name, self.kafka or self.name):
            if not is_valid_topic(name):
                raise ValueError(f"no topic can be called {name!r}")
        return self

    @property
    def kafka_name(self) -> str:
        """What Kafka calls it."""
        return self.kafka or self.name


_expand_name = BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
TopicDefinitions = list[Annotated[TopicDefinition, _expand_name]]


def public_names_by_kafka_topic(topics: Iterable[TopicDefinition]) -> dict[str, list[str]]:
    """Return Kafka's topics, each with its public names."""
    public_names: dict[str, list[str]] = {}
    for topic in topics:
        public_names.setdefault(topic.kafka_name, []).append(topic.name)
    return public_names


def linger_seconds_by_on_demand_topic(topics: Iterable[TopicDefinition]) -> dict[str, float]:
    """Return Kafka's topics that are read on demand, each with the seconds for which it lingers."""
    definitions: dict[str, list[TopicDefinition]] = {}
    for topic in topics:
        definitions.setdefault(topic.kafka_name, []).append(topic)
    return {
        kafka_topic: max(topic.linger_seconds for topic in entries)
        for kafka_topic, entries in definitions.items()
        if all(topic.on_demand for topic in entries)
    }
