"""The topics that clients may subscribe to, by both of their names.

Rule: this is the only map between public names and Kafka's. Kafka's topic may have several public
names; it is read on demand only if all of them are. Settings describe it in `config/topics.py`.
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
    public_names: Mapping[str, tuple[str, ...]]  #: by Kafka's topic
    is_private: Mapping[str, bool]  #: by public name
    linger_seconds: Mapping[str, float]  #: by Kafka's topic, only of those read on demand

    @classmethod
    def from_entries(cls, entries: Iterable[CatalogueEntry]) -> TopicCatalogue:
        """Return the catalogue of `entries`, whose public names are unique."""
        by_kafka_name: dict[str, list[CatalogueEntry]] = {}
        kafka_names: dict[str, str] = {}
        is_private: dict[str, bool] = {}
        for entry in entries:
            by_kafka_name.setdefault(entry.kafka_name, []).append(entry)
            kafka_names[entry.name] = entry.kafka_name
            is_private[entry.name] = entry.private
        public_names = {
            kafka_name: tuple(entry.name for entry in group)
            for kafka_name, group in by_kafka_name.items()
        }
        linger_seconds = {
            kafka_name: max(entry.linger_seconds for entry in group)
            for kafka_name, group in by_kafka_name.items()
            if all(entry.on_demand for entry in group)
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
        return [
            name for kafka_name in self.linger_seconds for name in self.public_names[kafka_name]
        ]

    def is_alias(self, topic: str) -> bool:
        """Whether `topic` shares its Kafka topic with a public name that comes first."""
        kafka_name = self.kafka_names.get(topic)
        return kafka_name is not None and self.public_names[kafka_name][0] != topic


NO_TOPICS: Final = TopicCatalogue.from_entries(())
