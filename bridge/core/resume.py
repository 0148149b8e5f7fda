"""What a client that comes back is owed, topic by topic.

Rule: complete or refused, per topic, never silently partial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.log import Log
    from bridge.core.position import Cursor, Place


class Resumption(NamedTuple):
    """Where a topic goes on: `gap` is the reason why not everything missed will come, or None.

    `floors` holds the first offset to send of each partition that the client knows better than
    this instance, which has not read so far yet.
    """

    gap: str | None
    floors: dict[int, int]


def ahead(cursor: Cursor, logs: Mapping[str, Log]) -> list[tuple[str, int]]:
    """The topics and partitions whose ends have to be asked of Kafka before `resume`.

    A cursor beyond what this instance has read is either well ahead of a slow instance, or
    beyond the end of a log that was cut off: only Kafka knows.
    """
    return [
        (topic, partition)
        for topic, place in cursor.items()
        if topic in logs and not _other_life(place, logs[topic])
        for partition, offset in place.offsets.items()
        if offset > logs[topic].next.get(partition, 0)
    ]


def resume(place: Place, log: Log, ends: Mapping[int, int]) -> Resumption:
    """Compare the client's `place` with `log`; `ends` are those that `ahead` asked for."""
    if _other_life(place, log):
        return Resumption("recreated", {})
    gap, floors = None, {}
    for partition, offset in place.offsets.items():
        if offset > log.next.get(partition, 0):
            if offset > ends.get(partition, 0):
                return Resumption("truncated", {})
            floors[partition] = offset
    if any(place.offsets.get(partition, 0) < offset for partition, offset in log.next.items()):
        gap = "limit"
    return Resumption(gap, floors)


def _other_life(place: Place, log: Log) -> bool:
    """Whether the topic was deleted and created again since the client's cursor was made."""
    return bool(place.identity and log.identity) and place.identity != log.identity
