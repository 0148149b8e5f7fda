"""Parsing of frames: JSON objects with an `op`.

Rule: no number is too large, and the producer's own text of a field is available (`raw_field`).
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Final, TypeAlias

Frame: TypeAlias = dict[str, Any]

_BLANKS: Final = re.compile(r"[ \t\n\r]*")


def _parse_int(digits: str) -> int | Decimal:
    try:
        return int(digits)
    except ValueError:  # more digits than Python converts to an int
        return Decimal(digits)


_decoder: Final = json.JSONDecoder(parse_int=_parse_int)


def parse_frame(text: str) -> Frame:
    """Parse one frame.

    Raises:
        ValueError: If it is not a JSON object with an `op`.
    """
    frame = _decoder.decode(text)
    if not (isinstance(frame, dict) and isinstance(frame.get("op"), str)):
        raise ValueError(  # noqa: TRY004 - as for invalid JSON
            f"not a frame: {text[:100]!r}"
        )
    return frame


def raw_field(text: str, name: str) -> str | None:
    """Return the text of a field's value as it was written; None if the field is absent."""
    raw = None
    offset = _skip_blanks(text, _skip_blanks(text, 0) + 1)
    while text[offset] == '"':
        field, offset = _decoder.raw_decode(text, offset)
        value_start = _skip_blanks(text, _skip_blanks(text, offset) + 1)
        _, offset = _decoder.raw_decode(text, value_start)
        if field == name:
            raw = text[value_start:offset]
        offset = _skip_blanks(text, offset)
        if text[offset] == ",":
            offset = _skip_blanks(text, offset + 1)
    return raw


def _skip_blanks(text: str, offset: int) -> int:
    match = _BLANKS.match(text, offset)
    return match.end() if match else offset
