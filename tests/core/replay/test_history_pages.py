"""Pages of the past against a naive one: nothing twice, nothing missed, oldest first."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.cursor import decode_cursor
from bridge.core.replay import history as pages
from tests.core.factories import event, offsets_by_topic
from tests.core.history_model import HistoryModel, Slot, next_page, session_of_ann

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hypothesis.strategies import DataObject, SearchStrategy

    from bridge.core.sessions.session import Session
    from tests.harness.history_pages import ReceivedPage

AUDIENCES = (
    {"accounts": ["ann"]},
    {"accounts": ["bob"]},
    {"rooms": ["r", "other"]},
    {"rooms": ["other"]},
    {"all": True},
    {"connections": ["c1"]},
    None,
)
KEYS = (("orders", 0), ("orders", 1), ("news", 1))


def slot(offset: int, timestamp: int, n: int, type: str) -> Slot:
    audience = AUDIENCES[n]
    if audience is None:
        return Slot(timestamp, None)
    return Slot(timestamp, event(offset, timestamp=timestamp, type=type, **audience))


def log(*, rising: bool) -> SearchStrategy[list[Slot]]:
    """What one partition holds; where timestamps rise, some are the same."""
    steps = st.tuples(
        st.integers(0, 2) if rising else st.integers(-9, 9),
        st.integers(0, len(AUDIENCES) - 1),
        st.sampled_from(["event", "other"]),
    )

    def laid_out(found: list[tuple[int, int, str]]) -> list[Slot]:
        times = itertools.accumulate(step for step, _, _ in found)
        drawn = zip(times, found, strict=True)
        return [slot(n, t, audience, type) for n, (t, (_, audience, type)) in enumerate(drawn)]

    return st.lists(steps, max_size=25).map(laid_out)


@st.composite
def pasts(draw: st.DrawFn, *, rising: bool) -> HistoryModel:
    logs = {key: draw(log(rising=rising)) for key in KEYS}
    read = {key: draw(st.integers(0, len(slots))) for key, slots in logs.items()}
    return HistoryModel(logs, {key: draw(st.integers(0, end)) for key, end in read.items()}, read)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """The journal is looked through in small portions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "JOURNAL_READ_EVENTS", 3)
        patch.setattr(pages, "JOURNAL_INDEX_EVENTS", 2)
        yield


readers = st.sampled_from(
    [
        session_of_ann("orders", "news"),
        session_of_ann("orders"),
        session_of_ann("orders", "news", rooms=[], types=["other"]),
    ]
)


def all_pages(
    data: DataObject, past: HistoryModel, reader: Session, *, cut: bool = False
) -> list[ReceivedPage]:
    """Page through everything, each page and portion of another size."""
    found: list[ReceivedPage] = []
    cursor = None
    while not found or found[-1].more:
        found.append(
            next_page(
                past,
                reader,
                cursor,
                data.draw(st.integers(1, 9), "limit"),
                lambda: data.draw(st.integers(1, 9), "portion"),
                (lambda: data.draw(st.booleans(), "cut")) if cut else lambda: False,
            )
        )
        assert not found[-1].gaps
        assert found[-1].cursor != cursor, "a page that does not get on"
        cursor = found[-1].cursor
    return found


def together(turned: list[ReceivedPage]) -> list[str]:
    return [at for each in turned for at in each.positions]


def by_partition(ats: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for at in ats:
        partition, _, offset = at.rpartition(":")
        found[partition].append(int(offset))
    return dict(found)


# -- against the naive one -------------------------------------------------------------------------


@given(st.data(), pasts(rising=True), readers)
def test_all_pages_together_are_everything_that_is_for_the_reader_in_order(
    data: DataObject, past: HistoryModel, reader: Session
) -> None:
    turned = all_pages(data, past, reader)
    assert together(turned) == past.expected_positions(reader)
    ends = {t: {p: len(past.logs[t, p]) for at, p in KEYS if at == t} for t in reader.topics}
    assert offsets_by_topic(decode_cursor(turned[-1].cursor)) == ends


@given(st.data(), pasts(rising=False), readers)
def test_where_timestamps_do_not_rise_every_partition_is_still_whole_and_in_order(
    data: DataObject, past: HistoryModel, reader: Session
) -> None:
    turned = all_pages(data, past, reader)
    owed = {p: sorted(each) for p, each in by_partition(past.expected_positions(reader)).items()}
    assert by_partition(together(turned)) == owed


@given(st.data(), pasts(rising=True), readers)
def test_pages_that_are_cut_miss_nothing_and_get_on(
    data: DataObject, past: HistoryModel, reader: Session
) -> None:
    turned = all_pages(data, past, reader, cut=True)
    assert by_partition(together(turned)) == by_partition(past.expected_positions(reader))


@pytest.mark.parametrize(("waiting", "bytes"), [(1500, 1 << 20), (1 << 20, 600), (700, 300)])
def test_what_is_forgotten_for_want_of_room_is_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, waiting: int, bytes: int
) -> None:
    monkeypatch.setattr(pages, "MAX_BUFFERED_BYTES", waiting)
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", bytes)

    @given(st.data(), pasts(rising=True), readers)
    def check(data: DataObject, past: HistoryModel, reader: Session) -> None:
        assert together(all_pages(data, past, reader)) == past.expected_positions(reader)

    check()
