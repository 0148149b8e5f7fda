"""Bytes as a bridge sends them, for what reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.bench.load.payload import Envelope, mark
from bridge.bench.load.stream_reader import PING, framed, text_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN = "0123abcd"
MARK = mark(RUN)
HEARTBEAT = text_frame(b'{"op":"heartbeat","cursor":"c2"}')
A_PING = framed(PING, b"")


def event(lane: int, number: int, made: int = 0, size: int = 205, run: str = RUN) -> bytes:
    value = Envelope(run, {"rooms": ["bench"]}, size).value(lane, number, made)
    head = b'{"op":"event","topic":"orders","at":"orders:3:%d","to":"room:bench",' % number
    return text_frame(head + value[value.index(b'"data"') :])


def events(of: Iterable[tuple[int, int]], made: int = 0, size: int = 205) -> bytes:
    return b"".join(event(lane, number, made, size) for lane, number in of)
