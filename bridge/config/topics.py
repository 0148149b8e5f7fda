"""Definitions of the topics that clients may subscribe to, as the settings have them.

Rule: a definition is checked here and mapped in `TopicCatalogue`, which all other packages get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bridge.config.environment import nearest
from bridge.config.routes import parse_route
from bridge.config.validators import refuse_yes_as_number
from bridge.core.protocol.names import is_valid_topic
from bridge.core.routes.formats import FORMATS, KEY_FORMATS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.routes.templates.route import Route


class TopicDefinition(BaseModel):
    """One public name of a Kafka topic. A name alone is a definition too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str
    kafka: str = ""
    private: bool = False
    on_demand: bool = False
    linger_seconds: float = Field(30, ge=0)
    format: str = "json"
    key_format: str = "text"
    route: Any = None
    dead: Literal["letter", "pass"] = "letter"

    _check_numbers = model_validator(mode="before")(refuse_yes_as_number)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in (self.name, self.kafka or self.name):
            if not is_valid_topic(name):
                raise ValueError(
                    f"{name!r} is no topic name; use letters, digits, '.', '_' and '-' only"
                )
        _check_format("format", self.format, FORMATS)
        _check_format("key_format", self.key_format, KEY_FORMATS)
        if "route" in self.model_fields_set:
            parse_route(self.route, self.format, self.key_format)
        return self

    @property
    def parsed_route(self) -> Route | None:
        """The route, if the settings have one."""
        has_route = "route" in self.model_fields_set
        return parse_route(self.route, self.format, self.key_format) if has_route else None

    @property
    def header_format(self) -> str | None:
        """The format, where native envelopes would not be understood."""
        has_envelopes = self.format == "json" and "route" not in self.model_fields_set
        return None if has_envelopes else self.format

    @property
    def kafka_name(self) -> str:
        """The name in Kafka. Default: the public name."""
        return self.kafka or self.name


def _check_format(setting: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        question = nearest(name, sorted(known))
        raise ValueError(
            f"{setting}: there is no format {name!r};{question} known: {', '.join(known)}"
        )


_expand_name = BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
TopicDefinitions = list[Annotated[TopicDefinition, _expand_name]]
