"""Writes the commands of the HTTP API to the control topic, where every instance reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.coordination import commands
from bridge.core.ports import NotAcknowledged, NoTopic, TooLarge
from bridge.kafka.writer import Writer

if TYPE_CHECKING:
    from bridge.core.coordination.commands import Command
    from bridge.core.protocol.cursor import Position
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
