"""What the downstream bank may ask of the one that it never meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence


class Upstream(Protocol):
    """The state of reading. Topics are the public ones."""

    def ready(self) -> bool:
        """Whether the instance has caught up with Kafka once."""

    def stale(self) -> float | None:
        """Seconds since Kafka was last reached, None while it is."""

    def ends(
        self, questions: Sequence[tuple[str, int]]
    ) -> Awaitable[Mapping[str, Mapping[int, int]] | None]:
        """The ends of these partitions; None where Kafka does not tell all of them now."""


class Figures(Protocol):
    """What was counted while reading. Topics are the public ones."""

    def lag(self) -> Mapping[str, int]:
        """The records that Kafka has and that have not been read, by topic."""

    def dead(self) -> Mapping[str, int]:
        """The records that can not be used, by reason."""

    def replayed(self) -> int:
        """The records that were read again, to replay."""
