"""Moments as text: RFC 3339, always in UTC, in frames and from producers and clients.

Conversions only: what time it is now is always an argument.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

_match_rfc3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
).fullmatch
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: Milliseconds of the last moment that RFC 3339 can write.
_MAX_MS: Final = 253402300799999
_MILLISECOND_SUFFIXES: Final = [f".{ms:03d}Z" for ms in range(1000)]


def ms_to_rfc3339(ms: int) -> str:
    """Write milliseconds since 1970, as Kafka stamps them; the nearest that a year can hold."""
    if not 0 <= ms <= _MAX_MS:
        ms = min(max(ms, 0), _MAX_MS)
    second, millisecond = divmod(ms, 1000)
    return _format_second(second) + _MILLISECOND_SUFFIXES[millisecond]


@lru_cache(maxsize=64)  # of the records of one second, and they come many at a time
def _format_second(second: int) -> str:
    return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}"


def rfc3339_to_utc(text: str) -> str:
    """Return an RFC 3339 date-time in UTC, its fraction as it was written.

    Raises:
        ValueError: If `text` is not one.
    """
    date, minutes, seconds, fraction, offset = _split_rfc3339(text)
    if offset in "Zz":
        return f"{date}T{minutes}{seconds}{fraction}Z"
    # A leap second (RFC 3339, 5.6) has no place in `datetime`, so the seconds stay outside it.
    moment = _minute_to_utc(date, minutes, offset)
    return f"{moment.isoformat()[:17]}{seconds}{fraction}Z"  # %Y does not pad on every system


def rfc3339_to_ms(text: str) -> int:
    """Return an RFC 3339 date-time as milliseconds since 1970, rounded down.

    Raises:
        ValueError: If `text` is not one.
    """
    date, minutes, seconds, fraction, offset = _split_rfc3339(text)
    moment = _minute_to_utc(date, minutes, offset)
    total_ms = (moment - _EPOCH) // timedelta(milliseconds=1) + int(seconds) * 1000
    return total_ms + int((fraction[1:4] or "0").ljust(3, "0"))


def _split_rfc3339(text: str) -> tuple[str, str, str, str, str]:
    match = _match_rfc3339(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 date-time: {text[:100]!r}")
    date, minutes, seconds, fraction, offset = match.groups(default="")
    datetime.fromisoformat(f"{date}T{minutes}00")  # the calendar's own ValueError
    if int(seconds) > 60:  # noqa: PLR2004
        raise ValueError(f"not an RFC 3339 date-time: {text[:100]!r}")
    return date, minutes, seconds, fraction, offset


def _minute_to_utc(date: str, minutes: str, offset: str) -> datetime:
    zone = "+00:00" if offset in "Zz" else offset
    try:
        return datetime.fromisoformat(f"{date}T{minutes}00{zone}").astimezone(UTC)
    except OverflowError:
        raise ValueError(f"no year holds that moment: {date}") from None
