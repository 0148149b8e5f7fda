"""The topics that clients may subscribe to, as the settings describe them.

Rule: an entry is a public name for one of Kafka's topics, which may have several. Kafka's topic is
read for all of them, so it is read on demand only where all of them are.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.core.protocol.names import is_valid_topic


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
