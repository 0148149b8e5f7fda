"""The topics that clients may subscribe to, by both of their names.

Rule: this is the only map between public names and Kafka's; each name has one of the other kind.
Settings describe it in `config/topics.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class CatalogueEntry(Protocol):
    """One public name of a topic."""

    @property
    def name(self) -> str:
        """The public name."""

    @property
    def kafka_name(self) -> str:
        """Kafka's name for it."""

    @property
    def private(self) -> bool:
        """Whether clients need permission for it."""

    @property
    def on_demand(self) -> bool:
        """Whether it may be read only while it has subscribers."""

    @property
    def linger_seconds(self) -> float:
        """For how long it is still read after its last subscriber left."""


@dataclass(frozen=True, slots=True)
class TopicCatalogue:
    """Immutable maps; the order is the order of the settings."""

    kafka_names: Mapping[str, str]  #: by public name
    public_names: Mapping[str, str]  #: by Kafka's topic
    is_private: Mapping[str, bool]  #: by public name
    linger_seconds: Mapping[str, float]  #: by Kafka's topic, only of those read on demand

    @classmethod
    def from_entries(cls, entries: Iterable[CatalogueEntry]) -> TopicCatalogue:
        """Return the catalogue of `entries`, whose names are unique, Kafka's too."""
        entries = tuple(entries)
        kafka_names = {entry.name: entry.kafka_name for entry in entries}
        public_names = {entry.kafka_name: entry.name for entry in entries}
        is_private = {entry.name: entry.private for entry in entries}
        linger_seconds = {
            entry.kafka_name: entry.linger_seconds for entry in entries if entry.on_demand
        }
        return cls(
            MappingProxyType(kafka_names),
            MappingProxyType(public_names),
            MappingProxyType(is_private),
            MappingProxyType(linger_seconds),
        )

    @property
    def on_demand_topics(self) -> list[str]:
        """The public names of the topics that are read on demand."""
        return [self.public_names[kafka_name] for kafka_name in self.linger_seconds]


NO_TOPICS: Final = TopicCatalogue.from_entries(())
