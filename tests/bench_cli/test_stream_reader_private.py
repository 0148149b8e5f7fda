"""Frames are found in any pieces, and their events are counted correctly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import (
    DeliveryCheck,
    DeliveryErrors,
    ReadProgress,
    consecutive_ranges,
)
from bridge.bench.load.latency import LatencyHistogram
from bridge.bench.load.payload import EventStamp, RecordTemplate, decode_fields
from bridge.bench.load.stream_reader import (
    TEXT,
    PrivateStreamReader,
    SharedStreamReader,
    encode_client_frame,
    encode_server_frame,
    split_frames,
)
from tests.bench_cli.frame_bytes import HEARTBEAT_FRAME, MARK, PING_FRAME, event_frame, event_frames
from tests.bench_cli.reference_parser import parse_frames, record_events

SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000])


@given(st.lists(SIZES, max_size=6), st.integers(0, 20))
def test_complete_frames_of_every_length_are_found(sizes, cut):
    whole = b"".join(encode_server_frame(TEXT, b"x" * size) for size in sizes)
    found = list(split_frames(whole + encode_server_frame(TEXT, b"y" * 300)[:cut]))
    assert [end - body for _, body, end in found] == sizes
    assert (found[-1][2] if found else 0) == len(whole)


def test_client_frame_is_masked_with_zeros():
    assert encode_client_frame(0x8A, b"ab") == b"\x8a\x82\0\0\0\0ab"


@pytest.mark.parametrize("size", [1, 205, 70_000])
def test_record_has_the_requested_size_if_possible(size):
    value = RecordTemplate("0123abcd", {"all": True}, size).render(1, 2, 3)
    assert len(value) == max(
        size, len(RecordTemplate("0123abcd", {"all": True}, 0).render(0, 0, 0))
    )
    assert decode_fields(value, value.index(MARK) + len(MARK)) == EventStamp(1, 2, 3)


PIECES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 30)).map(
            lambda it: event_frame(*it, made_at=1_000)
        ),
        st.tuples(st.integers(0, 3), st.integers(0, 30)).map(
            lambda it: event_frame(*it, size=70_000)
        ),
        st.sampled_from([HEARTBEAT_FRAME, PING_FRAME, event_frame(0, 0, run="ffffffff")]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(
    PIECES,
    st.lists(st.integers(1, 2_000), max_size=30),
    st.sampled_from([PrivateStreamReader, SharedStreamReader]),
)
def test_events_are_found_in_any_pieces(pieces, cuts, reader_class):
    data = b"".join(pieces)
    parts, expected_latencies, reference = (
        parse_frames(data, MARK),
        LatencyHistogram(),
        DeliveryCheck(),
    )
    record_events(parts.events, reference)
    for one in parts.events:
        expected_latencies.add(5_000 - one.created_ns)
    histogram, reader = LatencyHistogram(), ReadProgress()
    stream_reader = reader_class(MARK, histogram)
    stream_reader.add_client(reader)
    count, others, at = 0, [], 0
    for size in [*cuts, len(data) + 1]:
        events, frames = stream_reader.read(reader, memoryview(data)[at : at + size], 5_000)
        at += size
        count += events
        others += frames
    if isinstance(stream_reader, SharedStreamReader):
        stream_reader.flush()
    assert (count, others, reader.partial_frame) == (len(parts.events), parts.other_frames, b"")
    expected = dict.fromkeys(range(4), 31)
    assert reader.delivery_check.errors(expected) == reference.errors(expected)
    assert (histogram.counts, histogram.max_value) == (
        expected_latencies.counts,
        expected_latencies.max_value,
    )


def test_ranges_have_one_sequence_and_no_holes():
    found = [EventStamp(*it, 0) for it in ((0, 4), (1, 9), (0, 5), (1, 10), (0, 7))]
    assert consecutive_ranges(found) == [(0, 4, 2), (0, 7, 1), (1, 9, 2)]


@pytest.mark.parametrize("reader_class", [PrivateStreamReader, SharedStreamReader])
def test_events_of_another_run_are_not_counted(reader_class):
    stream_reader, reader = reader_class(MARK, LatencyHistogram()), ReadProgress()
    stream_reader.add_client(reader)
    count, others = stream_reader.read(reader, event_frame(0, 0, run="ffffffff"), 1)
    assert (count, len(others)) == (0, 1)


@pytest.mark.parametrize(
    ("numbers", "errors"),
    [
        ([0, 1, 2, 3], DeliveryErrors()),
        ([0, 1, 3], DeliveryErrors(lost=1)),
        ([0, 1, 2, 2, 3], DeliveryErrors(duplicates=1)),
        ([0, 2, 1, 3], DeliveryErrors(disorder=1)),
    ],
)
@pytest.mark.parametrize("reader_class", [PrivateStreamReader, SharedStreamReader])
def test_both_readers_find_each_error(numbers, errors, reader_class):
    stream_reader, reader = reader_class(MARK, LatencyHistogram()), ReadProgress()
    stream_reader.add_client(reader)
    stream_reader.read(reader, event_frames((0, number) for number in numbers), 1)
    if isinstance(stream_reader, SharedStreamReader):
        stream_reader.flush()
    assert reader.delivery_check.errors({0: 4}) == errors
