"""What the schemas say of names, places and times, the bridge's own readers say too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from bridge.core.protocol import envelope, timestamps
from bridge.core.protocol.cursor import read_cursor, read_position
from bridge.core.protocol.event import Types
from bridge.core.protocol.names import is_name, is_topic
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
    return taken_by(read_position)(text) and str(read_position(text)) == text


def is_utc(text: str) -> bool:
    """Whether `text` is a time, and written as the bridge would write it."""
    return taken_by(timestamps.to_utc)(text) and timestamps.to_utc(text) == text


def is_traceparent(text: str) -> bool:
    """Whether `text` is a trace parent, and written as the bridge would write it."""
    return envelope.only([text.encode()]) == text


DOORS: Final[dict[str, Callable[[str], bool]]] = {
    "name": is_name,
    "topic": is_topic,
    "position": is_position,
    "resume": taken_by(read_cursor),
    "utc-time": is_utc,
    "any-time": taken_by(timestamps.to_utc),
    "traceparent": is_traceparent,
    "type-filter": taken_by(lambda text: Types([text])),
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
