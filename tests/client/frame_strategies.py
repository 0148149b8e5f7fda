"""Frames as one connection may bring them, for what has to hold of any."""

from __future__ import annotations

from itertools import count
from typing import Any

from hypothesis import strategies as st

Frame = dict[str, Any]
TOPICS = ("t", "tt", "a.b")


@st.composite
def frame_sequences(draw: st.DrawFn, duplicates: bool = False) -> list[Frame]:
    """A welcome and what may follow; where it has `duplicates`, some events come again."""
    numbers = count(1)
    kinds = ["event", "event", "event", "heartbeat", "gap", "rooms"]
    frames: list[Frame] = [{"op": "welcome", "cursor": "C0"}]
    offsets: dict[tuple[str, int], int] = {}
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=30)):
        topic = draw(st.sampled_from(TOPICS))
        if kind == "event":
            partition = draw(st.integers(0, 1))
            low = offsets.get((topic, partition), -1) + 1
            if duplicates and low and draw(st.booleans()):
                offset = draw(st.integers(0, low - 1))
            else:
                offset = draw(st.integers(low, low + 2))
                offsets[topic, partition] = offset
            at = f"{topic}:{partition}:{offset}"
            frames.append({"op": "event", "topic": topic, "at": at, "id": len(frames)})
            continue
        if kind == "gap":
            offsets = {key: last for key, last in offsets.items() if key[0] != topic}
        frames.append({"op": kind, "topic": topic, "cursor": f"C{next(numbers)}"})
    return frames


def without_duplicates(frames: list[Frame]) -> list[Frame]:
    """The frames without events that are not above the last of their partition."""
    kept, last_offsets = [], dict[tuple[str, str], int]()
    for frame in frames:
        if frame["op"] == "event":
            topic, partition, offset = frame["at"].split(":")
            if int(offset) <= last_offsets.get((topic, partition), -1):
                continue
            last_offsets[topic, partition] = int(offset)
        elif frame["op"] == "gap":
            last_offsets = {key: it for key, it in last_offsets.items() if key[0] != frame["topic"]}
        kept.append(frame)
    return kept


def resume_cursor(frames: list[Frame]) -> str | None:
    """How the client that judges the core's replay would come back after these frames."""
    from tests.core.replay_client import ReplayClient  # noqa: PLC0415 - it imports the core

    client = object.__new__(ReplayClient)
    client.frames = frames
    return client.resume_cursor(len(frames))
