"""Durations in options: whole seconds, or a number with a unit, as `90s`, `15m`, `1h`, `7d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_match_duration: Final = re.compile(r"([0-9]{1,15})([smhd])").fullmatch


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that `text` is; None if it is none.

    Raises:
        OverflowError: If it is longer than two million years.
    """
    found = _match_duration(text)
    return int(found[1]) * _UNITS[found[2]] if found else None
