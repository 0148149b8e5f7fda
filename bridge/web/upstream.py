"""What the downstream bank may ask of the one that it never meets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.sessions.session import Session


class Upstream(Protocol):
    """The state of reading. Topics are the public ones."""

    def is_ready(self) -> bool:
        """Whether the instance has caught up with Kafka once."""

    def stale_seconds(self) -> float | None:
        """Seconds since Kafka was last reached, None while it is."""

    def start_replay(self, session: Session) -> None:
        """Catch up `session`, which was welcomed and is not live yet."""

    def wait_until_active(self, topics: Collection[str]) -> Awaitable[bool]:
        """Whether all of these topics, which the asker is a follower of, are read by now.

        Waits for those that are asleep, but no longer than clients wait for Kafka.
        """

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        """The cursor of these topics at a time, in milliseconds since 1970.

        None where Kafka does not tell it within the time for which clients wait.
        """


class MetricSample(NamedTuple):
    """Something that is counted, from the start on, or measured: one value, or some by `label`.

    `name` has no prefix and, where it `counts`, no `_total`.
    """

    name: str
    help_text: str
    value: float | Mapping[str, float]
    label_name: str = ""
    is_counter: bool = False


class MetricSource(Protocol):
    """Whoever knows what that bank has counted."""

    def samples(self) -> Iterable[MetricSample]:
        """All of it, as it is now. Topics are the public ones."""
