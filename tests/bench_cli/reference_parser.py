"""A simple frame parser, as the reference for the fast stream readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.bench.load.payload import EventStamp, decode_fields
from bridge.bench.load.stream_reader import TEXT, split_frames

if TYPE_CHECKING:
    from bridge.bench.load.delivery_check import DeliveryCheck


class ParsedFrames(NamedTuple):
    """The events and other frames in some bytes, and how many bytes were parsed."""

    events: list[EventStamp]
    other_frames: list[tuple[int, bytes]]
    parsed_bytes: int


def parse_frames(data: bytes, mark: bytes) -> ParsedFrames:
    """Parse `data`, which begins with a frame."""
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
    """Add the events to `check` one by one."""
    for lane, number, _ in events:
        check.add(lane, number)
