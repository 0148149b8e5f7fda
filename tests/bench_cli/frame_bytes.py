"""Frames as a bridge sends them, as input of the stream readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.bench.load.payload import RecordTemplate, run_marker
from bridge.bench.load.stream_reader import PING, encode_server_frame, encode_text_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

RUN = "0123abcd"
MARK = run_marker(RUN)
HEARTBEAT_FRAME = encode_text_frame(b'{"op":"heartbeat","cursor":"c2"}')
PING_FRAME = encode_server_frame(PING, b"")


def event_frame(lane: int, number: int, made_at: int = 0, size: int = 205, run: str = RUN) -> bytes:
    value = RecordTemplate(run, {"rooms": ["bench"]}, size).render(lane, number, made_at)
    frame_head = b'{"op":"event","topic":"orders","at":"orders:3:%d","to":"room:bench",' % number
    return encode_text_frame(frame_head + value[value.index(b'"data"') :])


def event_frames(numbers: Iterable[tuple[int, int]], made_at: int = 0, size: int = 205) -> bytes:
    return b"".join(event_frame(lane, number, made_at, size) for lane, number in numbers)
