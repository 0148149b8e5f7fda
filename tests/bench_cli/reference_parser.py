"""A plain reading of frames, one after another, to hold the quick ones against."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.bench.load.payload import EventStamp, decode_fields
from bridge.bench.load.stream_reader import TEXT, split_frames

if TYPE_CHECKING:
    from bridge.bench.load.delivery_check import DeliveryCheck


class ParsedFrames(NamedTuple):
    """What is in some bytes: events, other frames with their first byte, and where the rest is."""

    events: list[EventStamp]
    other_frames: list[tuple[int, bytes]]
    parsed_bytes: int


def parse_frames(data: bytes, mark: bytes) -> ParsedFrames:
    """Take `data` apart, which begins with a frame."""
    events: list[EventStamp] = []
    other_frames: list[tuple[int, bytes]] = []
    parsed_bytes, width = 0, len(mark)
    for first, body, end in split_frames(data):
        mark_position = data.find(mark, body, end) if first == TEXT else -1
        if mark_position >= 0:
            events.append(decode_fields(data, mark_position + width))
        else:
            other_frames.append((first, data[body:end]))
        parsed_bytes = end
    return ParsedFrames(events, other_frames, parsed_bytes)


def record_events(events: list[EventStamp], check: DeliveryCheck) -> None:
    """Let `check` have them one by one."""
    for lane, number, _ in events:
        check.add(lane, number)
