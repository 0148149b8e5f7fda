"""Protocols for publishing events and commands, and their errors. Kafka and web share them.

Rule: `NotAcknowledged` means that the outcome is unknown. The caller may publish again, with the
same id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.core.coordination.commands import Command
    from bridge.core.protocol.cursor import Position


class UnknownTopic(LookupError):
    """The bridge has no such topic, or Kafka has not."""


class RecordTooLarge(ValueError):
    """Kafka refuses a record of this size."""


class RecordRefused(ValueError):
    """Kafka refuses the record for certain: nothing was written. The message says what to do."""


class NotAcknowledged(Exception):
    """The record may have been written or not."""


class Publisher(Protocol):
    """Publishes events to topics by their public names."""

    def publish(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Awaitable[Position]:
        """Return the position of the record, once Kafka has acknowledged it.

        Raises:
            UnknownTopic: If the bridge has no such topic, or Kafka has not.
            RecordTooLarge: If Kafka refuses its size.
            RecordRefused: If Kafka refuses it for another reason.
            NotAcknowledged: If Kafka does not acknowledge it in time.

        Cancellation: the record may or may not have been written.
        """


class CommandPublisher(Protocol):
    """Publishes commands to all instances."""

    def publish(self, command: Command) -> Awaitable[Position]:
        """Return the position of the record, once Kafka has acknowledged it.

        Raises:
            RecordRefused: If Kafka refuses it.
            NotAcknowledged: If Kafka does not acknowledge it in time.

        Cancellation: the command may or may not have been written.
        """
