"""The topics that are read on demand: which are active, and waiting for their activation.

Rules: a topic with a subscriber is active or becomes active soon. Without subscribers it becomes
idle after its linger time. A topic that is added at run time is idle until it is read first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.core.protocol.topic_catalogue import TopicCatalogue

    #: Whether a public topic has a subscriber here.
    HasSubscribers = Callable[[str], bool]


class ActiveTopics:
    """Which topics of the catalogue are not read now: they are asleep, or about to start.

    An on-demand topic becomes active with its first subscriber, any other one as soon as possible.
    A client waits at most `wait_seconds` for a topic to become active.
    """

    def __init__(
        self,
        catalogue: TopicCatalogue,
        *,
        wait_seconds: float,
    ) -> None:
        self._idle_after_seconds = catalogue.linger_seconds
        self._public_names = catalogue.public_names
        self._kafka_names = catalogue.kafka_names
        self._wait_seconds = wait_seconds
        self.idle_topics = set(catalogue.linger_seconds)
        self._active_events = {topic: asyncio.Event() for topic in catalogue.linger_seconds}
        self._unused_since: dict[str, float] = {}  # active topics without subscribers
        self.refresh_requested = asyncio.Event()  #: set to make the consumer refresh its metadata

    # -- for subscribers: public topic names -----------------------------------------------------

    def request_activation(self, topic: str) -> None:
        """Activate `topic` soon: it has a subscriber."""
        kafka_name = self._kafka_names[topic]
        self._unused_since.pop(kafka_name, None)
        if kafka_name in self.idle_topics:
            self.refresh_requested.set()

    async def wait_until_active(self, topics: Collection[str]) -> bool:
        """Wait until all of `topics` are active; return whether they became so in time.

        The caller must already count as a subscriber. Otherwise they may become idle again. A
        topic that is removed meanwhile is not waited for.

        Cancellation: safe.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                for topic in topics:
                    kafka_name = self._kafka_names.get(topic)
                    if event := self._active_events.get(kafka_name or ""):
                        await event.wait()
        except TimeoutError:
            return False
        return True

    def activity(self) -> dict[str, bool]:
        """Return whether each on-demand topic is active, by public name."""
        return {
            self._public_names[kafka_name]: kafka_name not in self.idle_topics
            for kafka_name in self._idle_after_seconds
        }

    # -- for the consumer: Kafka's topic names ---------------------------------------------------

    def to_activate(self, has_subscribers: HasSubscribers) -> set[str]:
        """Return the idle topics that have subscribers, or need none."""
        return {
            topic
            for topic in self.idle_topics
            if topic not in self._idle_after_seconds or self._is_in_use(topic, has_subscribers)
        }

    def to_deactivate(self, has_subscribers: HasSubscribers, now: float) -> list[str]:
        """Return active topics whose linger time is over, at `now` on a monotonic clock."""
        self._unused_since = {
            topic: self._unused_since.get(topic, now)
            for topic in self._idle_after_seconds.keys() - self.idle_topics
            if not self._is_in_use(topic, has_subscribers)
        }
        return [
            topic
            for topic, since in self._unused_since.items()
            if now - since >= self._idle_after_seconds[topic]
        ]

    def mark_idle(self, topic: str) -> None:
        """Record that `topic` is not read any more, or not yet."""
        self.idle_topics.add(topic)
        self._active_events.setdefault(topic, asyncio.Event())
        self._unused_since.pop(topic, None)

    def mark_active(self, topics: Iterable[str]) -> None:
        """Record that `topics` are read now, and wake those that wait for them."""
        for topic in topics:
            self.idle_topics.discard(topic)
            if event := self._active_events.pop(topic, None):
                event.set()

    def remove(self, topic: str) -> None:
        """Forget `topic`, and wake those that wait for it."""
        self.mark_active((topic,))
        self._unused_since.pop(topic, None)

    def _is_in_use(self, topic: str, has_subscribers: HasSubscribers) -> bool:
        return has_subscribers(self._public_names[topic])
