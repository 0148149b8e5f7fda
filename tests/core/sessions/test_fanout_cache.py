"""The frames of past events: the right one for each kind of socket and reason, in few bytes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol import frames
from bridge.core.sessions import fanout as module
from bridge.core.sessions.fanout import FrameCache
from tests.core.factories import event

if TYPE_CHECKING:
    from bridge.core.protocol.event import Event


class Kind:
    """A kind of socket, and what was wrapped for it."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.wrapped: list[bytes] = []

    def wrap(self, frame: bytes) -> bytes:
        self.wrapped.append(frame)
        return self.name + frame


EVENT = event(7, rooms=["r", "s"], all=True)


def make(
    it: FrameCache, to: str, kind: Kind, place: tuple[int, int] = (1, 0), of: Event = EVENT
) -> bytes:
    return it.get("orders", 0, place, of, to, kind.wrap)


def test_each_kind_of_socket_and_each_reason_has_a_frame_of_its_own_made_once() -> None:
    it, kinds = FrameCache(), [Kind(b"W"), Kind(b"S")]
    reasons = [frames.to_for_room("r"), frames.to_for_room("s"), frames.TO_ALL]
    for _ in range(2):
        for kind, to in product(kinds, reasons):
            expected = kind.name + frames.build_event_frame("orders", 0, EVENT).encode(to)
            assert make(it, to, kind) == expected
    assert [len(kind.wrapped) for kind in kinds] == [3, 3]


@pytest.mark.parametrize("to", [frames.TO_ACCOUNT, frames.TO_CONNECTION])
def test_what_is_for_one_account_is_made_when_it_is_sent(to: str) -> None:
    it, kind = FrameCache(), Kind(b"W")
    for _ in range(2):
        make(it, to, kind)
    assert len(kind.wrapped) == 2


def test_another_event_is_another_frame() -> None:
    it, kind = FrameCache(), Kind(b"W")
    made = {
        make(it, frames.TO_ALL, kind, (serial, n), event(9 * serial + n))
        for serial in (1, 2)
        for n in (0, 1)
    }
    assert len(made) == 4


def test_no_more_bytes_are_kept_than_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_CACHE_BYTES", 1000)
    it, kind = FrameCache(), Kind(b"W")
    size = len(make(it, frames.TO_ALL, kind))
    for number in range(100):
        make(it, frames.TO_ALL, kind, (1, number))
        kept = sum(map(len, it._frames.values()))
        assert size <= kept <= 1000 + size
