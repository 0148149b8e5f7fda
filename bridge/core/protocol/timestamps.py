"""Conversions between RFC 3339 text and milliseconds since 1970.

Rule: results are always in UTC. The current time is always an argument; nothing here reads a clock.
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
#: The last millisecond of the year 9999, the last that RFC 3339 can express.
_MAX_MS: Final = 253402300799999
_MILLISECOND_SUFFIXES: Final = [f".{ms:03d}Z" for ms in range(1000)]


def ms_to_rfc3339(ms: int) -> str:
    """Format a Kafka timestamp, moved into the years 1970 to 9999 if it is outside."""
    if not 0 <= ms <= _MAX_MS:
        ms = min(max(ms, 0), _MAX_MS)
    second, millisecond = divmod(ms, 1000)
    return _format_second(second) + _MILLISECOND_SUFFIXES[millisecond]


@lru_cache(maxsize=64)  # many records come in one second
def _format_second(second: int) -> str:
    return f"{_EPOCH + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}"


def rfc3339_to_utc(text: str) -> str:
    """Convert an RFC 3339 date-time to UTC; the fraction keeps its digits.

    Raises:
        ValueError: If `text` is not an RFC 3339 date-time.
    """
    date, minutes, seconds, fraction, offset = _split_rfc3339(text)
    if offset in "Zz":
        return f"{date}T{minutes}{seconds}{fraction}Z"
    # `datetime` has no leap seconds (RFC 3339, 5.6), so the seconds are not part of it.
    moment = _minute_to_utc(date, minutes, offset)
    return f"{moment.isoformat()[:17]}{seconds}{fraction}Z"  # %Y does not pad on every system


def rfc3339_to_ms(text: str) -> int:
    """Convert an RFC 3339 date-time to milliseconds since 1970, rounded down.

    Raises:
        ValueError: If `text` is not an RFC 3339 date-time.
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
    datetime.fromisoformat(f"{date}T{minutes}00")  # raises ValueError for 31 February
    if int(seconds) > 60:  # noqa: PLR2004
        raise ValueError(f"not an RFC 3339 date-time: {text[:100]!r}")
    return date, minutes, seconds, fraction, offset


def _minute_to_utc(date: str, minutes: str, offset: str) -> datetime:
    zone = "+00:00" if offset in "Zz" else offset
    try:
        return datetime.fromisoformat(f"{date}T{minutes}00{zone}").astimezone(UTC)
    except OverflowError:
        raise ValueError(f"no year holds that moment: {date}") from None
