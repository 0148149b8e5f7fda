"""The topics that this instance serves now, and the one place where they change.

Rule: `replace` is synchronous, so all parts change between two turns of the event loop. What an
instance does with a batch, a client or a request is of either set of topics, never of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.app.decoders import build_topic_decoder
from bridge.core.topic_changes import add_topic, change_topic, remove_topics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from bridge.config.settings import LimitSettings
    from bridge.config.topics import TopicDefinition
    from bridge.core.protocol.topic_catalogue import TopicCatalogue, TopicChanges
    from bridge.core.routes.decoder import RecordDecoder
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.consumer import Consumer


class ServedTopics:
    """Replaces the topics of an instance: in the catalogue, and in the parts that keep any."""

    def __init__(
        self,
        catalogue: TopicCatalogue,
        decoder: RecordDecoder,
        hub: Hub,
        consumer: Consumer,
        limits: LimitSettings,
    ) -> None:
        self.catalogue = catalogue
        self._decoder = decoder
        self._limits = limits
        self._hub = hub
        self._consumer = consumer

    def replace(
        self, definitions: Iterable[TopicDefinition], from_beginning: Collection[str] = ()
    ) -> TopicChanges:
        """Serve the topics of `definitions` from now on; return what that changes.

        Topics that are added are read from their end, those of Kafka's names in `from_beginning`
        from their beginning.
        """
        definitions = list(definitions)
        decoders = {d.name: build_topic_decoder(d, self._limits) for d in definitions}
        changes = self.catalogue.replace(definitions)
        for name in changes.removed:
            self._decoder.remove(name)
        for name in (*changes.added, *changes.changed):
            self._decoder.replace(name, decoders[name])
        if changes.removed:
            remove_topics(self._hub, changes.removed)
        for kafka_name in changes.removed.values():
            self._consumer.remove_topic(kafka_name)
        for name in changes.changed:
            entry = self.catalogue.entries[name]
            change_topic(
                self._hub, name, is_private=entry.private, is_on_demand=self._is_on_demand(name)
            )
        for name, kafka_name in changes.added.items():
            entry, is_on_demand = self.catalogue.entries[name], self._is_on_demand(name)
            add_topic(self._hub, name, is_private=entry.private, is_on_demand=is_on_demand)
            self._consumer.add_topic(
                kafka_name, from_beginning=kafka_name in from_beginning and not is_on_demand
            )
        self._consumer.request_refresh()
        return changes

    async def wait_until_read(self, topics: Iterable[str]) -> None:
        """Wait until `topics` are read, those on demand excepted; without Kafka not at all.

        Cancellation: safe.
        """
        if self._consumer.ready.is_set() and self._consumer.stale_seconds() is None:
            awaited = [t for t in topics if t in self.catalogue.kafka_names]
            await self._consumer.active_topics.wait_until_active(
                [topic for topic in awaited if not self._is_on_demand(topic)]
            )

    def _is_on_demand(self, name: str) -> bool:
        return self.catalogue.kafka_names[name] in self.catalogue.linger_seconds
