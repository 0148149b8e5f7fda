"""What the envelope makes of a record, for the tests of the envelope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.envelope import read
from bridge.core.protocol.event import Dead, Event

if TYPE_CHECKING:
    from tests.core.given import Record

LIMIT = 10_000
#: Why a record can be dead: what operators see counted, so nothing else may turn up.
REASONS = frozenset({"bad_json", "bad_envelope", "bad_name", "bad_time", "bad_header", "too_large"})


def outcome(it: Record, limit: int = LIMIT) -> Event | str | None:
    """Return the event that `it` is, or the reason for which it is dead."""
    try:
        return read(it, limit)
    except Dead as dead:
        return dead.reason


def understood(it: Record) -> Event:
    event = read(it, LIMIT)
    assert event is not None
    return event


def reason(it: Record, limit: int = LIMIT) -> str:
    with pytest.raises(Dead) as caught:
        read(it, limit)
    assert str(caught.value)
    return caught.value.reason
