"""The topics that clients may subscribe to, by both of their names.

Rules: this is the only map between public names and Kafka's; each name has one of the other kind.
The topics may change at run time, in `replace` only, and whoever holds one of the maps sees it.
Settings describe them in `config/topics.py`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

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

    @property
    def header_format(self) -> str | None:
        """The format of its values, if headers address what is published; None: an envelope."""

    @property
    def dead(self) -> str:
        """What its invalid records become: `letter`, or `pass`: counted only."""


class TopicChanges(NamedTuple):
    """How two sets of topics differ: Kafka's names by public ones.

    A topic with another Kafka name than before is in `removed`, with the earlier one, and in
    `added`. `changed` have other properties.
    """

    added: Mapping[str, str]
    removed: Mapping[str, str]
    changed: Mapping[str, str]


class TopicCatalogue:
    """The present topics, in the order of the settings. Its maps are read-only views."""

    def __init__(self, entries: Iterable[CatalogueEntry] = ()) -> None:
        """The names of `entries` are unique, Kafka's too."""
        self._entries: dict[str, CatalogueEntry] = {}
        self._kafka_names: dict[str, str] = {}
        self._public_names: dict[str, str] = {}
        self._is_private: dict[str, bool] = {}
        self._linger_seconds: dict[str, float] = {}
        self.kafka_names: Mapping[str, str] = MappingProxyType(self._kafka_names)
        """By public name."""
        self.public_names: Mapping[str, str] = MappingProxyType(self._public_names)
        """By Kafka's topic."""
        self.is_private: Mapping[str, bool] = MappingProxyType(self._is_private)
        """By public name."""
        self.linger_seconds: Mapping[str, float] = MappingProxyType(self._linger_seconds)
        """By Kafka's topic, only of those read on demand."""
        self.replace(entries)

    @classmethod
    def from_entries(cls, entries: Iterable[CatalogueEntry]) -> TopicCatalogue:
        """Return the catalogue of `entries`, whose names are unique, Kafka's too."""
        return cls(entries)

    @property
    def entries(self) -> Mapping[str, CatalogueEntry]:
        """The topics as they are described, by public name."""
        return MappingProxyType(self._entries)

    def replace(self, entries: Iterable[CatalogueEntry]) -> TopicChanges:
        """Replace all topics by `entries`, and return what that changes."""
        before, self._entries = self._entries, {entry.name: entry for entry in entries}
        now = self._entries.values()
        _refill(self._kafka_names, {entry.name: entry.kafka_name for entry in now})
        _refill(self._public_names, {entry.kafka_name: entry.name for entry in now})
        _refill(self._is_private, {entry.name: entry.private for entry in now})
        _refill(
            self._linger_seconds,
            {entry.kafka_name: entry.linger_seconds for entry in now if entry.on_demand},
        )
        return _compare(before, self._entries)

    def header_format(self, topic: str) -> str | None:
        """Return that of a public name; None if it is unknown."""
        entry = self._entries.get(topic)
        return None if entry is None else entry.header_format

    @property
    def on_demand_topics(self) -> list[str]:
        """The public names of the topics that are read on demand."""
        return [self.public_names[kafka_name] for kafka_name in self.linger_seconds]


def _refill(content: dict[str, Any], new_content: dict[str, Any]) -> None:
    content.clear()
    content.update(new_content)


def _compare(
    before: Mapping[str, CatalogueEntry], after: Mapping[str, CatalogueEntry]
) -> TopicChanges:
    kept = {
        name
        for name in before.keys() & after.keys()
        if before[name].kafka_name == after[name].kafka_name
    }
    return TopicChanges(
        added={name: after[name].kafka_name for name in after if name not in kept},
        removed={name: before[name].kafka_name for name in before if name not in kept},
        changed={
            name: after[name].kafka_name
            for name in after
            if name in kept and after[name] != before[name]
        },
    )


NO_TOPICS: Final = TopicCatalogue()
