"""Who reads Kafka with whom.

Rules: those who need about as much go together, so that nobody who is near has to wait for what
only those need who are far behind; and however many they are, all else has its turn in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from bridge.core.sessions.session import Session

T = TypeVar("T")
#: By public topic and partition: from which offset, up to which.
Missing: TypeAlias = "Mapping[tuple[str, int], tuple[int, int]]"

#: Who has this many times more to be read than another does not share with it.
_ALIKE = 4
#: Nobody minds so many records.
_FEW_RECORDS = 10_000
#: Sessions that are looked at before everything else has its turn.
_SLICE = 100


async def in_slices(sessions: Iterable[Session]) -> AsyncIterator[Session]:
    """Yield these, and let everything else have its turn now and then."""
    for number, session in enumerate(sessions, 1):
        yield session
        if number % _SLICE == 0:
            await asyncio.sleep(0)


def amount(missing: Missing) -> int:
    """Return how many offsets that is."""
    return sum(end - start for start, end in missing.values())


def may_share(left: int, needed: int) -> bool:
    """Whether one who needs so much can wait for a pass that has so much left to read."""
    return left <= _ALIKE * max(needed, _FEW_RECORDS)


def alike(apart: Mapping[T, Missing], *, least: bool) -> list[T]:
    """Those who need about as much as the first of them; or as the one who needs the least."""
    needs = {session: amount(missing) for session, missing in apart.items()}
    measure = min(needs.values()) if least else next(iter(needs.values()))
    return [
        session
        for session, needed in needs.items()
        if may_share(measure, needed) and may_share(needed, measure)
    ]


def lowest(all_missing: Iterable[Missing]) -> dict[tuple[str, int], int]:
    """Return where reading has to begin for all of these."""
    start: dict[tuple[str, int], int] = {}
    for missing in all_missing:
        for key, (place, _) in missing.items():
            start[key] = min(place, start.get(key, place))
    return start
