"""The protocols that the Kafka reading side implements and `web` calls.

Rule: `web` and the Kafka side never import each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.sessions.session import Session


class Upstream(Protocol):
    """Reports the state of reading Kafka, and starts replays. All topic names are public."""

    def is_ready(self) -> bool:
        """Whether the instance has caught up with Kafka once."""

    def waiting_partitions(self) -> list[str]:
        """Partitions without a leader, as `topic:partition`; none of a private topic."""

    def stale_seconds(self) -> float | None:
        """Seconds since Kafka last responded; None while it is reachable."""

    def start_replay(self, session: Session) -> None:
        """Start a replay to `session`. It must have its welcome, and must not be live."""

    def wait_until_active(self, topics: Collection[str]) -> Awaitable[bool]:
        """Wait until the instance reads all of these topics; return False after the time limit.

        The caller must already subscribe to them: a subscriber activates an idle topic.
        """

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        """Return the cursor of these topics at a time, in milliseconds since 1970.

        None if Kafka does not answer within the time limit.
        """


class MetricSample(NamedTuple):
    """A counter or a gauge: one value, or values by `label_name`.

    `name` has no prefix and, for a counter, no `_total`.
    """

    name: str
    help_text: str
    value: float | Mapping[str, float]
    label_name: str = ""
    is_counter: bool = False


class MetricSource(Protocol):
    """Supplies the metrics of the side that reads Kafka."""

    def samples(self) -> Iterable[MetricSample]:
        """Return the current values. All topic names are public."""
