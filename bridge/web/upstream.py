"""What the downstream bank may ask of the one that it never meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.sessions.session import Session


class Upstream(Protocol):
    """The state of reading. Topics are the public ones."""

    def ready(self) -> bool:
        """Whether the instance has caught up with Kafka once."""

    def stale(self) -> float | None:
        """Seconds since Kafka was last reached, None while it is."""

    def replay(self, session: Session) -> None:
        """Catch up `session`, which was welcomed and is not live yet."""

    def awake(self, topics: Collection[str]) -> Awaitable[bool]:
        """Whether all of these topics, which the asker is a follower of, are read by now.

        Waits for those that are asleep, but no longer than clients wait for Kafka.
        """

    def since(self, topics: Collection[str], ms: int) -> Awaitable[Cursor | None]:
        """The cursor of these topics at a time, in milliseconds since 1970.

        None where Kafka does not tell it within the time for which clients wait.
        """


class Figure(NamedTuple):
    """Something that is counted, from the start on, or measured: one value, or some by `label`.

    `name` has no prefix and, where it `counts`, no `_total`.
    """

    name: str
    about: str
    value: float | Mapping[str, float]
    label: str = ""
    counts: bool = False


class Figures(Protocol):
    """Whoever knows what that bank has counted."""

    def figures(self) -> Iterable[Figure]:
        """All of it, as it is now. Topics are the public ones."""
