"""Takes what the bridge's own topics say, and lets it act here.

Rules: a command acts from the moment on in which it is read; one from before the start is only kept
as far as it lasts. What can not be understood becomes a dead letter, and is no obstacle.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.coordination import commands, state_records
from bridge.core.coordination.commands import LASTING, Drain
from bridge.core.ports import NotAcknowledged, NoTopic, TooLarge
from bridge.core.protocol.envelope import Casualty
from bridge.core.protocol.event import Dead
from bridge.kafka.producer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.coordination.leader_tasks import Steward
    from bridge.coordination.presence import Herald
    from bridge.coordination.topics import Own
    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.membership import Backend
    from bridge.core.coordination.presence import Census
    from bridge.core.protocol.cursor import Position
    from bridge.core.protocol.envelope import Batch, Record
    from bridge.kafka.client.client import Access


class Orders:
    """Writes to the topic `control`, by a writer of its own: no event ever goes there."""

    def __init__(self, access: Access, control: str) -> None:
        self.writer = Writer(access, {control: control})
        self._control = control

    async def send(self, order: Command) -> Position:
        """Write a command; return where it stands, once Kafka has acknowledged it.

        Raises:
            NotAcknowledged: If Kafka has not answered within some seconds.

        Cancellation: the command may or may not have been written.
        """
        key, value = commands.key(order), commands.write(order)
        try:
            return await self.writer.write(self._control, value, key=key)
        except (NoTopic, TooLarge):
            raise NotAcknowledged from None


_log = logging.getLogger(__name__)


class Means(NamedTuple):
    """Who this instance is, and what it does about what it is told.

    `leave` drains it; `dead` takes records that can not be used.
    """

    instance: str
    max_bytes: int
    leave: Callable[[], None]
    dead: Callable[[Casualty], None]


class Office:
    """One instance's part in what all of them are told."""

    def __init__(
        self,
        own: Own,
        backend: Backend,
        census: Census,
        herald: Herald,
        steward: Steward,
        means: Means,
    ) -> None:
        self._own = own
        self._backend = backend
        self._census = census
        self._herald = herald
        self._steward = steward
        self._means = means
        self._live_from: dict[int, int] = {}
        self._identities: dict[str, bytes] = {}

    @property
    def topics(self) -> tuple[str, str]:
        """What it reads."""
        return self._own.control, self._own.state

    def live_from(self, offsets: Mapping[int, int]) -> None:
        """Say which commands were there before the start: those below these offsets."""
        self._live_from = dict(offsets)

    def begin(self, topic: str, identity: bytes) -> None:
        """Say that reading `topic` begins, or begins anew with another identity."""
        if self._identities.setdefault(topic, identity) != identity:
            self._identities[topic] = identity
            if topic == self._own.control:
                self._live_from = {}
                self._steward.begin_anew()
            _log.error("%s was created anew: what was kept in it holds here until the end", topic)

    def skip(self, topic: str, reason: str) -> None:
        """Say that what `topic` has said can not be read any more, for this reason."""
        if reason == "expired":
            _log.critical("%s: Kafka forgot what was not read yet; ending, to begin anew", topic)
            self._means.leave()

    def take(self, batch: Batch) -> None:
        """Take what was read."""
        for record in batch.records:
            try:
                if batch.topic == self._own.control:
                    self._obey(record, batch.partition)
                else:
                    self._learn(record)
            except Dead as dead:
                self._means.dead(Casualty(batch.topic, batch.partition, record, dead))

    def _obey(self, record: Record, partition: int) -> None:
        told = commands.read(record, self._means.max_bytes)
        live = record.offset >= self._live_from.get(partition, 0)
        if not live and not isinstance(told, LASTING):
            return
        if isinstance(told, Drain):
            if told.instance == self._means.instance:
                _log.warning(
                    "draining: a command at %s:%d says so", self._own.control, record.offset
                )
                self._means.leave()
            return
        kept = self._backend.obey(told)
        if kept is not None:
            self._steward.keep_lasting(record.offset, *kept)

    def _learn(self, record: Record) -> None:
        fact = state_records.read(record)
        if isinstance(fact, state_records.Folded):
            self._steward.folded(fact.offset)
        self._census.load(fact, time.monotonic())
        if (combined := self._backend.members.load(fact)) is not None:
            self._steward.amend(*combined)
        self._herald.hear(fact)
