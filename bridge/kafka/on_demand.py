"""The topics that are read on demand: which of them are asleep, and who waits until one wakes.

Rules: a topic that somebody follows is awake or about to wake; one goes to sleep, in a single step,
when nobody has followed it for as long as it lingers. A topic of Kafka's wakes as a whole.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


class Sleepers:
    """Kafka's topics that are `on_demand`, each with the seconds for which it lingers.

    `names` maps Kafka's topics to the public ones, of which `followed` tells whether anybody
    follows one. Whoever waits for a topic to wake does so for `wait_seconds` at most.
    """

    def __init__(
        self,
        on_demand: Mapping[str, float],
        names: Mapping[str, Sequence[str]],
        followed: Callable[[str], bool],
        *,
        wait_seconds: float,
    ) -> None:
        self._linger = on_demand
        self._names = names
        self._kafka = {name: topic for topic in on_demand for name in names[topic]}
        self._followed = followed
        self._wait_seconds = wait_seconds
        self.asleep = set(on_demand)
        self._awake = {topic: asyncio.Event() for topic in on_demand}
        self._idle: dict[str, float] = {}  # since when nobody follows those that are awake
        self.look: Callable[[], None] | None = None  #: asks the feed to look soon

    # -- what followers ask: topics are the public ones ------------------------------------------

    def call(self, topic: str) -> None:
        """Say that `topic` has got a follower."""
        kafka = self._kafka[topic]
        self._idle.pop(kafka, None)
        if kafka in self.asleep and self.look is not None:
            self.look()

    async def awake(self, topics: Collection[str]) -> bool:
        """Wait until all of `topics` are awake; tell whether they were in time.

        To be asked by who is counted as a follower of them, or they go to sleep again.

        Cancellation: safe.
        """
        try:
            async with asyncio.timeout(self._wait_seconds):
                for topic in self._kafka.keys() & topics:
                    await self._awake[self._kafka[topic]].wait()
        except TimeoutError:
            return False
        return True

    def awake_now(self) -> dict[str, bool]:
        """Return whether each of the topics is awake."""
        return {name: kafka not in self.asleep for name, kafka in self._kafka.items()}

    # -- what the feed asks: topics are Kafka's --------------------------------------------------

    def wanted(self) -> set[str]:
        """Return those that are asleep and that somebody follows."""
        return {topic for topic in self.asleep if self._is_followed(topic)}

    def tired(self, now: float) -> list[str]:
        """Return those that nobody has followed for long enough, at `now` on a steady clock."""
        for topic in self._linger.keys() - self.asleep:
            if self._is_followed(topic):
                self._idle.pop(topic, None)
            else:
                self._idle.setdefault(topic, now)
        return [topic for topic, since in self._idle.items() if now - since >= self._linger[topic]]

    def sleep(self, topic: str) -> None:
        """Say that `topic` is not read any more."""
        self.asleep.add(topic)
        self._awake[topic].clear()
        self._idle.pop(topic, None)

    def wake(self, topics: Iterable[str]) -> None:
        """Say that these are read."""
        for topic in topics:
            self.asleep.discard(topic)
            self._awake[topic].set()

    def _is_followed(self, topic: str) -> bool:
        return any(self._followed(name) for name in self._names[topic])
