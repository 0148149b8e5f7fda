"""What the schemas say of names, places and times, the bridge's own readers say too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from bridge.core.protocol import envelope, timestamps
from bridge.core.protocol.cursor import decode_cursor, parse_position
from bridge.core.protocol.event import TypeFilter
from bridge.core.protocol.names import is_valid_name, is_valid_topic
from tests.contract.examples import VERDICTS, examples

if TYPE_CHECKING:
    from collections.abc import Callable


def taken_by(read: Callable[[str], object]) -> Callable[[str], bool]:
    """Return whether `read` takes a text, rather than raising a ValueError."""

    def is_taken(text: str) -> bool:
        try:
            read(text)
        except ValueError:
            return False
        return True

    return is_taken


def is_position(text: str) -> bool:
    """Whether `text` is a position, and written as the bridge would write it."""
    return taken_by(parse_position)(text) and str(parse_position(text)) == text


def is_utc(text: str) -> bool:
    """Whether `text` is a time, and written as the bridge would write it."""
    return taken_by(timestamps.rfc3339_to_utc)(text) and timestamps.rfc3339_to_utc(text) == text


def is_traceparent(text: str) -> bool:
    """Whether `text` is a trace parent, and written as the bridge would write it."""
    return envelope.parse_traceparent([text.encode()]) == text


DOORS: Final[dict[str, Callable[[str], bool]]] = {
    "name": is_valid_name,
    "topic": is_valid_topic,
    "position": is_position,
    "resume": taken_by(decode_cursor),
    "utc-time": is_utc,
    "any-time": taken_by(timestamps.rfc3339_to_utc),
    "traceparent": is_traceparent,
    "type-filter": taken_by(lambda text: TypeFilter([text])),
}
TEXTS: Final = [
    pytest.param(door, example.value, verdict == "valid", id=example.name)
    for name, door in DOORS.items()
    for verdict in VERDICTS
    for example in examples(f"values/{name}", verdict)
    if isinstance(example.value, str)
]


@pytest.mark.parametrize(("door", "text", "valid"), TEXTS)
def test_a_value_is_judged_alike(door: Callable[[str], bool], text: str, valid: bool) -> None:
    assert door(text) is valid
