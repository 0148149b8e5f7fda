"""Frames as they are read: JSON objects with an `op`, in which no number is too large.

The rule kept here: what the producer has written can be had to the letter (`written`).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, TypeAlias

Frame: TypeAlias = dict[str, Any]

_BLANKS: Final = re.compile(r"[ \t\n\r]*")


def _integer(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # more digits than Python makes an int of
        return Decimal(digits)


_decoder: Final = json.JSONDecoder(parse_int=_integer)


def read(text: str) -> Frame:
    """Return a frame.

    Raises:
        ValueError: If it is none.
    """
    frame = _decoder.decode(text)
    if not (isinstance(frame, dict) and isinstance(frame.get("op"), str)):
        raise ValueError(  # noqa: TRY004 - as where it is no JSON
            f"not a frame: {text[:100]!r}"
        )
    return frame


def written(text: str, name: str) -> str | None:
    """Return a field of the object in `text` as it is written; None where there is none."""
    found = None
    at = _skip(text, _skip(text, 0) + 1)
    while text[at] == '"':
        field, at = _decoder.raw_decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        _, at = _decoder.raw_decode(text, begin)
        if field == name:
            found = text[begin:at]
        at = _skip(text, at)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return found


def _skip(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
