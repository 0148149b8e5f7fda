"""Where events and commands are written to, and why one was not: what both banks agree on.

Rule: "not acknowledged" is said wherever it is not known; who is told so may write it again with
the same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.core.coordination.commands import Command
    from bridge.core.protocol.cursor import Position


class UnknownTopic(LookupError):
    """The topic to be written to does not exist."""


class RecordTooLarge(ValueError):
    """Kafka takes no record that large."""


class NotAcknowledged(Exception):
    """Kafka has not said that it has the record: it may have been written or not."""


class Publisher(Protocol):
    """Writes to the bridge's topics, by their public names."""

    def publish(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Awaitable[Position]:
        """Write one record; return where it stands, once Kafka has acknowledged it.

        Raises:
            NoTopic: If the bridge has no such topic, or Kafka has not.
            TooLarge: If Kafka does not take so much at a time.
            NotAcknowledged: If Kafka has not answered within some seconds.

        Cancellation: the record may or may not have been written.
        """


class CommandPublisher(Protocol):
    """Hands commands to every instance."""

    def publish(self, command: Command) -> Awaitable[Position]:
        """Write a command; return where it stands, once Kafka has acknowledged it.

        Raises:
            NotAcknowledged: If Kafka has not answered within some seconds.

        Cancellation: the command may or may not have been written.
        """
