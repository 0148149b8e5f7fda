"""Frames are found in whatever pieces they come, and what is in them is counted rightly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import Ledger, Reader, Verdict, runs
from bridge.bench.load.latency import Histogram
from bridge.bench.load.payload import Envelope, Stamped, found
from bridge.bench.load.stream_reader import TEXT, Tape, Walk, framed, frames, masked
from tests.bench_cli.plainly import apart, write_down
from tests.bench_cli.traffic import A_PING, HEARTBEAT, MARK, event, events

SIZES = st.sampled_from([0, 1, 125, 126, 127, 300, 65_535, 65_536, 70_000])


@given(st.lists(SIZES, max_size=6), st.integers(0, 20))
def test_frames_of_every_length_are_found_and_a_part_of_one_is_not(sizes, cut):
    whole = b"".join(framed(TEXT, b"x" * size) for size in sizes)
    told = list(frames(whole + framed(TEXT, b"y" * 300)[:cut]))
    assert [end - body for _, body, end in told] == sizes
    assert (told[-1][2] if told else 0) == len(whole)


def test_a_clients_frame_is_masked_with_zeros():
    assert masked(0x8A, b"ab") == b"\x8a\x82\0\0\0\0ab"


@pytest.mark.parametrize("size", [1, 205, 70_000])
def test_a_record_has_the_size_that_was_asked_for_where_that_is_possible(size):
    value = Envelope("0123abcd", {"all": True}, size).value(1, 2, 3)
    assert len(value) == max(size, len(Envelope("0123abcd", {"all": True}, 0).value(0, 0, 0)))
    assert found(value, value.index(MARK) + len(MARK)) == Stamped(1, 2, 3)


PIECES = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 30)).map(lambda it: event(*it, made=1_000)),
        st.tuples(st.integers(0, 3), st.integers(0, 30)).map(lambda it: event(*it, size=70_000)),
        st.sampled_from([HEARTBEAT, A_PING, event(0, 0, run="ffffffff")]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(PIECES, st.lists(st.integers(1, 2_000), max_size=30), st.sampled_from([Walk, Tape]))
def test_however_it_is_cut_everything_is_found(pieces, cuts, way):
    data = b"".join(pieces)
    parts, once, ledger = apart(data, MARK), Histogram(), Ledger()
    write_down(parts.events, ledger)
    for one in parts.events:
        once.add(5_000 - one.made)
    histogram, reader = Histogram(), Reader()
    reading = way(MARK, histogram)
    reading.join(reader)
    count, others, at = 0, [], 0
    for size in [*cuts, len(data) + 1]:
        events, told = reading.read(reader, memoryview(data)[at : at + size], 5_000)
        at += size
        count += events
        others += told
    if isinstance(reading, Tape):
        reading.settle()
    assert (count, others, reader.tail) == (len(parts.events), parts.others, b"")
    owed = dict.fromkeys(range(4), 31)
    assert reader.ledger.verdict(owed) == ledger.verdict(owed)
    assert (histogram.counts, histogram.most) == (once.counts, once.most)


def test_runs_are_of_one_lane_and_without_holes():
    told = [Stamped(*it, 0) for it in ((0, 4), (1, 9), (0, 5), (1, 10), (0, 7))]
    assert runs(told) == [(0, 4, 2), (0, 7, 1), (1, 9, 2)]


@pytest.mark.parametrize("way", [Walk, Tape])
def test_an_event_of_another_run_is_no_event_of_ours(way):
    reading, reader = way(MARK, Histogram()), Reader()
    reading.join(reader)
    count, others = reading.read(reader, event(0, 0, run="ffffffff"), 1)
    assert (count, len(others)) == (0, 1)


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ([0, 1, 2, 3], Verdict()),
        ([0, 1, 3], Verdict(lost=1)),
        ([0, 1, 2, 2, 3], Verdict(duplicates=1)),
        ([0, 2, 1, 3], Verdict(disorder=1)),
    ],
)
@pytest.mark.parametrize("way", [Walk, Tape])
def test_a_planted_fault_is_seen_on_both_ways(numbers, verdict, way):
    reading, reader = way(MARK, Histogram()), Reader()
    reading.join(reader)
    reading.read(reader, events((0, number) for number in numbers), 1)
    if isinstance(reading, Tape):
        reading.settle()
    assert reader.ledger.verdict({0: 4}) == verdict
