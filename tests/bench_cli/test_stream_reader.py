"""The shared reader counts like the reference parser, for any streams in any pieces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import DeliveryCheck, DeliveryErrors, ReadProgress
from bridge.bench.load.latency import (
    MAX_SLOT_NS,
    SLOT_NS,
    LatencyBatch,
    LatencyHistogram,
    bucket_index,
)
from bridge.bench.load.stream_reader import SharedStreamReader
from tests.bench_cli.frame_bytes import HEARTBEAT_FRAME, MARK, PING_FRAME, event_frame, event_frames
from tests.bench_cli.reference_parser import parse_frames, record_events
from tests.tiers import example_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.bench.load.payload import EventStamp

SEQUENCES = 3
EXPECTED = dict.fromkeys(range(SEQUENCES), 41)
OWN = [HEARTBEAT_FRAME, PING_FRAME, event_frame(0, 0, run="ffffffff")]
LONG = 1 << 30
SHORT = 3_000  # bytes: some ten frames


@dataclass
class Member:
    """One client's stream, with the counts of the reader and of the reference parser."""

    data: bytes
    reader: ReadProgress = field(default_factory=ReadProgress)
    events: list[EventStamp] = field(default_factory=list)
    others: list[tuple[int, bytes]] = field(default_factory=list)
    received_others: list[tuple[int, bytes]] = field(default_factory=list)
    received: int = 0
    begun: int = 0
    at: int = 0

    def read(self, shared: SharedStreamReader, size: int, now: int, late: list[int]) -> None:
        """Read `size` bytes with the shared reader and with the reference parser."""
        piece = memoryview(self.data)[self.at : self.at + size]
        count, others = shared.read(self.reader, piece, now)
        self.received += count
        self.received_others += others
        self.at += size
        parts = parse_frames(self.data[self.begun : self.at], MARK)
        self.begun += parts.parsed_bytes
        self.events += parts.events
        self.others += parts.other_frames
        late += [now - one.created_ns for one in parts.events]

    def check(self) -> None:
        """Compare the two."""
        plain = DeliveryCheck()
        record_events(self.events, plain)
        assert (self.received, self.received_others) == (len(self.events), self.others)
        assert self.reader.delivery_check.errors(EXPECTED) == plain.errors(EXPECTED)
        assert self.reader.delivery_check.next_numbers == plain.next_numbers


def faulty(draw: Callable[..., Any], frames: list[bytes]) -> list[bytes]:
    """Return the frames with some faults, and with frames for this client alone."""
    frames = list(frames)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(frames)))
        match draw(st.sampled_from(["own", "lost", "twice", "swapped", "late"])):
            case "own":
                frames.insert(at, draw(st.sampled_from(OWN)))
            case "lost":
                del frames[at : at + 1]
            case "twice":
                frames[at:at] = frames[max(0, at - draw(st.integers(1, 4))) : at]
            case "swapped":
                frames[at : at + 2] = reversed(frames[at : at + 2])
            case "late" if at < len(frames):
                frames.insert(draw(st.integers(at, len(frames))), frames.pop(at))
    return frames


@st.composite
def rooms(draw: Callable[..., Any]) -> list[Member]:
    sequences = draw(st.lists(st.integers(0, SEQUENCES - 1), min_size=1, max_size=40))
    sizes = st.sampled_from([205, 205, 205, 60, 300])
    numbers = dict.fromkeys(range(SEQUENCES), 0)
    frames = []
    for place, sequence in enumerate(sequences):
        frames.append(
            event_frame(sequence, numbers[sequence], 1_000_000 + 7_919 * place, draw(sizes))
        )
        numbers[sequence] += 1
    members = draw(st.integers(1, 4))
    return [Member(b"".join(faulty(draw, frames))) for _ in range(members)]


READS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.one_of(st.integers(1, 400), st.integers(1, 5_000), st.just(LONG)),
        st.integers(0, 2 * SLOT_NS),
    ),
    max_size=40,
)


def bounded(histogram: LatencyHistogram, late: list[int]) -> None:
    """Each latency is exact, or larger by less than a slot."""
    most = max(late, default=0)
    slot = max(SLOT_NS, min(most // 128, MAX_SLOT_NS))
    assert histogram.total == len(late)
    results = [at for at, count in enumerate(histogram.counts) for _ in range(count)]
    for bucket, true in zip(results, sorted(late), strict=True):
        assert bucket_index(true) <= bucket <= bucket_index(true + slot - 1)
    assert most <= histogram.max_value < most + slot


@settings(deadline=None, max_examples=example_count(400))
@given(rooms(), READS, st.sampled_from([LONG, SHORT]), st.integers(0, 40))
def test_shared_reader_counts_like_the_reference(room, reads, longest, settled):
    histogram, late, now = LatencyHistogram(), list[int](), 50_000_000
    shared = SharedStreamReader(MARK, histogram, longest)
    for member in room:
        shared.add_client(member.reader)
    rests = [(who, LONG, 0) for who in range(len(room))]
    for turn, (who, size, passed) in enumerate([*reads, *rests]):
        now += passed
        room[who % len(room)].read(shared, size, now, late)
        if turn == settled:
            shared.flush()
    shared.flush()
    for member in room:
        member.check()
        assert member.reader.partial_frame == b""
    bounded(histogram, late)


def alike(
    count: int, longest: int = LONG
) -> tuple[SharedStreamReader, list[ReadProgress], LatencyHistogram]:
    histogram = LatencyHistogram()
    shared, readers = (
        SharedStreamReader(MARK, histogram, longest),
        [ReadProgress() for _ in range(count)],
    )
    for reader in readers:
        shared.add_client(reader)
    return shared, readers, histogram


def test_shared_bytes_are_not_parsed_again(monkeypatch):
    shared, (first, *more), _ = alike(4)
    data = event_frames((0, number) for number in range(50))
    shared.read(first, data, 1)
    monkeypatch.setattr("bridge.bench.load.stream_reader.split_frames", None)
    for size, reader in zip((7, 100, 5_000), more, strict=True):
        for at in range(0, len(data), size):
            shared.read(reader, data[at : at + size], 1)
    shared.flush()
    assert [reader.delivery_check.errors({0: 50}) for reader in more] == [DeliveryErrors()] * 3


def test_heartbeat_does_not_end_the_comparison(monkeypatch):
    shared, (first, second), _ = alike(2)
    shared.read(first, event_frames((0, number) for number in range(20)), 1)
    data = event_frames((0, number) for number in range(9)) + HEARTBEAT_FRAME
    assert shared.read(second, data, 1)[0] == 9
    monkeypatch.setattr("bridge.bench.load.stream_reader.split_frames", None)
    assert shared.read(second, event_frames((0, number) for number in range(9, 20)), 1) == (11, ())
    assert second.first_unchecked == 0


def test_partial_frame_of_a_closed_client_is_discarded():
    shared, (first, second), _ = alike(2)
    data = event_frames((0, number) for number in range(3))
    shared.read(first, data, 1)
    assert shared.read(second, data[:-5], 1)[0] == 2
    shared.discard_partial_frame(second)
    assert shared.read(second, event_frame(0, 2) + HEARTBEAT_FRAME, 1) == (
        1,
        parse_frames(HEARTBEAT_FRAME, MARK).other_frames,
    )
    shared.read(first, event_frame(0, 3)[:-5], 1)
    shared.discard_partial_frame(first)
    assert shared.read(first, event_frame(0, 3), 1)[0] == 1
    shared.flush()
    assert first.delivery_check.errors({0: 4}) == DeliveryErrors()
    assert second.delivery_check.errors({0: 3}) == DeliveryErrors()


def test_shared_bytes_are_bounded_and_slow_clients_are_counted():
    shared, (first, second, idle), histogram = alike(3, SHORT)
    frames = [event_frame(0, number, made_at=5) for number in range(300)]
    for frame in frames:
        shared.read(first, frame, 10)
        assert len(shared._shared_bytes) <= SHORT
        assert (
            len(shared._events) == len(shared._event_indexes) == len(shared._frame_offsets) - 1 < 20
        )
    data = b"".join(frames)
    on_it = list(shared._events)
    assert shared.read(idle, data[: len(data) // 2], 10)[0] == 150
    assert shared._events == on_it  # old events are not added again
    shared.read(idle, data[len(data) // 2 : -3], 10)
    for at in range(0, len(data), 1_000):
        shared.read(second, data[at : at + 1_000], 10)
    shared.flush()
    errors = [reader.delivery_check.errors({0: 300}) for reader in (first, second, idle)]
    assert errors == [DeliveryErrors(), DeliveryErrors(), DeliveryErrors(lost=1)]
    assert histogram.counts[5] == histogram.total == 899


@pytest.mark.parametrize("read", [2, 17, 20])
@pytest.mark.parametrize("cut", [0, 3, 150])
@pytest.mark.parametrize("own", [b"", HEARTBEAT_FRAME])
def test_client_continues_after_old_bytes_are_removed(read, cut, own):
    frames = [event_frame(0, number) for number in range(24)]
    size = len(frames[0])
    shared, (first, second), _ = alike(2, 20 * size + 40)
    shared.read(first, b"".join(frames[:20]), 1)
    begun = b"".join(frames[:read]) + own
    data = begun + b"".join(frames[read:])
    pause = len(begun) + cut if not own else len(begun) - cut % len(own)
    results = [shared.read(second, data[:pause], 1)]
    for frame in frames[20:]:
        shared.read(first, frame, 1)
    assert len(shared._events) < 20
    results.append(shared.read(second, data[pause:], 1))
    shared.flush()
    assert sum(count for count, _ in results) == 24
    assert [one for _, others in results for one in others] == parse_frames(own, MARK).other_frames
    assert (
        second.delivery_check.errors({0: 24})
        == first.delivery_check.errors({0: 24})
        == DeliveryErrors()
    )


def test_partial_frame_in_the_shared_bytes_is_not_copied():
    shared, (first, second), _ = alike(2)
    shared.read(first, event_frames((0, number) for number in range(3)), 1)
    shared.read(second, HEARTBEAT_FRAME + event_frame(0, 0) + event_frame(0, 1)[:-3], 1)
    assert (second.partial_frame, second.byte_offset) == (b"", shared._frame_offsets[2] - 3)


def test_latencies_of_one_slot_use_its_last_read():
    histogram = LatencyHistogram()
    stretches = LatencyBatch(histogram)
    stretches.created_ns += [0, 10_000]
    stretches.add(0, 2, 100_000)
    stretches.add(0, 1, 100_000 + SLOT_NS - 1)
    stretches.add(1, 2, 100_000 + SLOT_NS)
    stretches.flush()
    plain = LatencyHistogram()
    for late in (99_999 + SLOT_NS, 99_999 + SLOT_NS, 89_999 + SLOT_NS, 90_000 + SLOT_NS):
        plain.add(late)
    assert (histogram.counts, histogram.max_value) == (plain.counts, plain.max_value)


@pytest.mark.parametrize("made", [7, 2_000])
def test_single_read_has_its_exact_latency(made):
    shared, (reader,), histogram = alike(1)
    shared.read(reader, event_frame(0, 0, made), 1_000)
    shared.flush()
    assert histogram.counts[bucket_index(max(0, 1_000 - made))] == histogram.total == 1


@pytest.mark.parametrize(
    ("late", "slot"),
    [
        (0, SLOT_NS),
        (128 * SLOT_NS, SLOT_NS),
        (128 * 1_000_000, 1_000_000),
        (1_000 * MAX_SLOT_NS, MAX_SLOT_NS),
    ],
)
def test_slots_grow_with_the_latency(late: int, slot: int):
    histogram = LatencyHistogram()
    stretches = LatencyBatch(histogram)
    stretches.created_ns += [0, 0]
    for now in (late, late + slot - 1):
        stretches.add(0, 1, now)
    assert not histogram.counts[bucket_index(late + slot - 1)], "the slot ended early"
    stretches.add(1, 2, late + slot)
    assert histogram.counts[bucket_index(late + slot - 1)] == 2
