"""Frames are found in whatever pieces they come, and what is in them is counted rightly."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.bench.chunk import Chunk, Known, apart, runs
from bridge.bench.frames import TEXT, framed, frames, masked
from bridge.bench.histogram import Histogram
from bridge.bench.ledger import Ledger, Verdict
from bridge.bench.payload import Envelope, Stamped, found
from bridge.bench.walk import Walk
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
@given(PIECES, st.lists(st.integers(1, 2_000), max_size=30), st.booleans())
def test_however_it_is_cut_the_walk_finds_what_a_chunk_has(pieces, cuts, shared):
    data = b"".join(pieces)
    chunk, once, ledger = Chunk(data, MARK), Histogram(), Ledger()
    chunk.seen(5_000, once)
    chunk.settle(once)
    for run in chunk.runs:
        ledger.take(*run)
    histogram, walked = Histogram(), Ledger()
    walk = Walk(MARK, histogram, shared=shared)
    count, others, tail, at = 0, [], b"", 0
    for size in [*cuts, len(data) + 1]:
        more = tail + data[at : at + size]
        at += size
        events, told, rest = walk.through(more, 5_000, walked)
        count += events
        others += told
        tail = more[rest:]
    assert (count, others, tail) == (chunk.count, chunk.parts.others, b"")
    owed = dict.fromkeys(range(4), 31)
    assert walked.verdict(owed) == ledger.verdict(owed)
    assert histogram.counts == once.counts


def test_runs_are_of_one_lane_and_without_holes():
    told = [Stamped(*it, 0) for it in ((0, 4), (1, 9), (0, 5), (1, 10), (0, 7))]
    assert runs(told) == [(0, 4, 2), (1, 9, 2), (0, 7, 1)]


def test_an_event_of_another_run_is_no_event_of_ours():
    told = apart(event(0, 0, run="ffffffff"), MARK)
    assert (told.events, len(told.others)) == ([], 1)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 10**7))
def test_latencies_that_are_counted_together_are_those_counted_singly(waits, made):
    waits.sort()
    chunk = Chunk(event(0, 0, made) + event(0, 1, made // 2), MARK)
    together, singly = Histogram(), Histogram()
    for wait in waits:
        chunk.seen(made + wait, together)
        singly.add(wait)
        singly.add(made + wait - made // 2)
    chunk.settle(together)
    assert together.counts == singly.counts


def test_what_comes_twice_is_known_and_what_comes_once_is_not():
    known, histogram = Known(MARK), Histogram()
    first, other = events([(0, 0), (0, 1)]), events([(0, 2), (0, 3)])
    assert known.get(first, histogram) is None
    chunk = known.get(first, histogram)
    assert chunk is not None
    assert known.get(first, histogram) is chunk
    assert known.get(other, histogram) is None
    assert known.get(other, histogram) is not chunk  # of the same length
    assert known.get(first, histogram) is None


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [
        ([0, 1, 2, 3], Verdict()),
        ([0, 1, 3], Verdict(lost=1)),
        ([0, 1, 2, 2, 3], Verdict(duplicates=1)),
        ([0, 2, 1, 3], Verdict(disorder=1)),
    ],
)
@pytest.mark.parametrize("known", [False, True])
def test_a_planted_fault_is_seen_on_both_ways(numbers, verdict, known):
    data, ledger = events((0, number) for number in numbers), Ledger()
    if known:
        for run in Chunk(data, MARK).runs:
            ledger.take(*run)
    else:
        Walk(MARK, Histogram(), shared=True).through(data, 1, ledger)
    assert ledger.verdict({0: 4}) == verdict
