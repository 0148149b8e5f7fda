"""One page of the past: when it is done, what it looks at, and what its cursor says."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import decode_cursor, parse_position
from bridge.core.replay import history as pages
from bridge.core.replay.history import TopicChanged
from tests.core.factories import OTHER_TOPIC_ID, event, offsets_by_topic
from tests.core.history_model import (
    HistoryModel,
    Slot,
    next_page,
    read_written_page,
    session_of_ann,
)


def filled(*logs: list[int], floor: int | None = None) -> HistoryModel:
    """Return partitions of `orders` with an event for ann at each of these times."""
    found = {
        ("orders", p): [Slot(t, event(n, timestamp=t, accounts=["ann"])) for n, t in enumerate(ts)]
        for p, ts in enumerate(logs)
    }
    return HistoryModel(
        found, {key: len(s) if floor is None else floor for key, s in found.items()}
    )


def test_a_page_looks_no_further_than_it_has_to() -> None:
    past = filled([*range(0, 1000, 2)], [*range(1, 1000, 2)])
    page = past.begin_page(session_of_ann(), None, 10)
    while not page.merge():
        for strand in page.partitions_to_read():
            past.fill_page(page, strand, 4)
    assert read_written_page(page).positions[:3] == ["orders:0:0", "orders:1:0", "orders:0:1"]
    strands = [page.partition_cursor("orders", p) for p in (0, 1)]
    assert all(strand is not None and strand.read_offset <= 8 for strand in strands)


def test_only_the_partitions_that_may_have_something_older_are_looked_at() -> None:
    past = filled([100, 200], [150, 160], [90, 300])
    page = past.begin_page(session_of_ann(), None, 10)
    assert [strand.partition for strand in page.partitions_to_read()] == [0, 1, 2]
    for strand in page.partitions_to_read():
        past.fill_page(page, strand, 1)
    assert not page.merge()
    assert len(page.event_frames) == 1
    assert [strand.partition for strand in page.partitions_to_read()] == [2]


def test_what_has_nothing_for_the_reader_is_passed_over_only_as_far_as_it_has_to() -> None:
    bobs = [Slot(t, event(n, timestamp=t, accounts=["bob"])) for n, t in enumerate([10, 60, 200])]
    past = filled([50, 100, 150], [50])
    past.logs["orders", 1] = bobs
    page = past.begin_page(session_of_ann(), None, 10)
    first, second = page.partitions_to_read()
    past.fill_page(page, first, 3)
    past.fill_page(page, second, 2)
    assert page.partitions_to_read() == [], "nothing stands before the first at 50"
    assert not page.merge()
    assert [strand.partition for strand in page.partitions_to_read()] == [1], (
        "it has come to 60 only"
    )
    past.fill_page(page, second, 1)
    assert page.merge()
    assert read_written_page(page).positions == ["orders:0:0", "orders:0:1", "orders:0:2"]


def test_what_may_be_oldest_is_looked_at_first() -> None:
    past = filled([30, 1], [20, 1], [10, 1])
    for slots in past.logs.values():
        slots[0] = Slot(slots[0].timestamp, None)
    page = past.begin_page(session_of_ann(), None, 10)
    for strand in page.partitions_to_read():
        past.fill_page(page, strand, 1)
    assert [strand.partition for strand in page.partitions_to_read()] == [2, 1, 0]


def test_a_page_that_was_looked_for_has_moved() -> None:
    past = filled([1], [2])
    past.logs["orders", 0][0] = Slot(1, None)
    page = past.begin_page(session_of_ann(), None, 10)
    assert not page.has_progressed
    past.fill_page(page, page.partitions_to_read()[0], 1)
    assert page.has_progressed, "though nothing was found"
    while not page.merge():
        past.fill_page(page, page.partitions_to_read()[0], 1)
    assert page.has_progressed


def test_no_more_is_kept_than_fits_in_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    past = filled([*range(50)], [*range(50)])
    page = past.begin_page(session_of_ann(), None, 3)
    for strand in page.partitions_to_read():
        everything = [slot.event for slot in past.logs["orders", strand.partition] if slot.event]
        assert not page.add_events(strand, everything[:40], 0, 40), "it can do without more"
        assert (len(strand.buffered), strand.read_offset) == (3, 3)
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1200)
    page = past.begin_page(session_of_ann(), None, 100)
    for strand in page.partitions_to_read():
        past.fill_page(page, strand, 50)
        assert (len(strand.buffered), strand.read_offset) == (3, 3)


def test_what_would_go_out_last_is_forgotten_where_too_much_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "MAX_BUFFERED_BYTES", 4 * 504)
    past = filled([10, 11], [30, 31], [20, 35])
    page = past.begin_page(session_of_ann(), None, 10)
    first, second, third = page.partitions_to_read()
    for strand in first, second, third:
        past.fill_page(page, strand, 2)
    assert [len(strand.buffered) for strand in (first, second, third)] == [2, 0, 2]
    assert (second.read_offset, second.merge_key[0]) == (0, 30)
    for _ in range(3):
        past.fill_page(page, second, 2)
        assert [len(strand.buffered) for strand in (first, second, third)] == [2, 0, 2]
    assert not page.merge()
    assert [strand.partition for strand in page.partitions_to_read()] == [1]
    past.fill_page(page, second, 2)
    assert page.merge(), "what has gone out waits no more"
    came = [parse_position(at).partition for at in read_written_page(page).positions]
    assert came == [0, 0, 2, 1, 1, 2]


def test_a_full_page_is_done_and_says_that_there_may_be_more() -> None:
    past = filled([1, 2, 3])
    told = next_page(past, session_of_ann(), None, 2, lambda: 5)
    assert (told.positions, told.more) == (["orders:0:0", "orders:0:1"], True)
    rest = next_page(past, session_of_ann(), told.cursor, 2, lambda: 5)
    assert (rest.positions, rest.more) == (["orders:0:2"], False)
    end = next_page(past, session_of_ann(), rest.cursor, 2, lambda: 5)
    assert (end.positions, end.more, end.cursor) == ([], False, rest.cursor)


def test_a_page_ends_where_the_logs_ended_when_it_was_begun() -> None:
    past = filled([1, 2], floor=0)
    page = past.begin_page(session_of_ann(), None, 10)
    past.logs["orders", 0] += [Slot(3, event(2, timestamp=3, all=True))]
    past.read_partition("orders", 0, 3)
    while not page.merge():
        for strand in page.partitions_to_read():
            past.fill_page(page, strand, 10)
    assert (read_written_page(page).positions, page.has_more) == (
        ["orders:0:0", "orders:0:1"],
        False,
    )
    assert next_page(past, session_of_ann(), page.cursor, 10, lambda: 1).positions == ["orders:0:2"]


def test_a_page_of_many_bytes_ends_before_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 1000)
    slots = [Slot(t, event(t, b'"%b"' % (b"x" * 600), all=True, timestamp=t)) for t in range(5)]
    past = HistoryModel({("orders", 0): slots}, {("orders", 0): 5})
    told = next_page(past, session_of_ann(), None, 100, lambda: 5)
    assert (told.positions, told.more) == (["orders:0:0", "orders:0:1"], True)


def test_an_event_that_is_larger_than_a_page_is_a_page_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 10)
    past = filled([1, 2], [1, 2])
    ats = []
    cursor = None
    for _ in range(4):
        told = next_page(past, session_of_ann(), cursor, 100, lambda: 5)
        assert len(told.positions) == 1
        ats += told.positions
        cursor = told.cursor
    assert ats == ["orders:0:0", "orders:1:0", "orders:0:1", "orders:1:1"]
    assert not told.more


def test_a_page_that_is_cut_hands_out_only_what_is_in_order() -> None:
    past = filled([10, 20], [15, 30])
    page = past.begin_page(session_of_ann(), None, 10)
    first, second = page.partitions_to_read()
    past.fill_page(page, first, 2)
    past.fill_page(page, second, 1)
    page.finish_early()
    assert read_written_page(page).positions == ["orders:0:0", "orders:1:0"]
    assert (offsets_by_topic(decode_cursor(page.cursor)), page.has_more) == (
        {"orders": {0: 1, 1: 1}},
        True,
    )


def test_a_page_that_is_cut_before_anything_is_in_order_hands_out_what_was_found() -> None:
    past = filled([10, 20], [15, 30])
    page = past.begin_page(session_of_ann(), None, 10)
    past.fill_page(page, page.partitions_to_read()[1], 2)
    assert not page.merge()
    page.finish_early()
    assert read_written_page(page).positions == ["orders:1:0", "orders:1:1"]
    assert offsets_by_topic(decode_cursor(page.cursor)) == {"orders": {0: 0, 1: 2}}


def test_what_was_found_goes_out_by_time_as_far_as_it_fits() -> None:
    past = filled([10], [30, 35, 40], [20, 31])
    page = past.begin_page(session_of_ann(), None, 3)
    _, second, third = page.partitions_to_read()
    past.fill_page(page, second, 3)
    past.fill_page(page, third, 3)
    page.finish_early()
    assert read_written_page(page).positions == ["orders:2:0", "orders:1:0", "orders:2:1"]


def test_a_portion_that_does_not_join_is_not_taken() -> None:
    past = filled([1, 2, 3, 4])
    page = past.begin_page(session_of_ann(), None, 10)
    (strand,) = page.partitions_to_read()
    later = [slot.event for slot in past.logs["orders", 0][2:] if slot.event]
    assert not page.add_events(strand, later, 2, 4)
    assert (strand.read_offset, list(strand.buffered)) == (0, [])


def test_a_portion_that_is_known_already_changes_nothing() -> None:
    past = filled([1, 2, 3, 4])
    page = past.begin_page(session_of_ann(), None, 10)
    (strand,) = page.partitions_to_read()
    everything = [slot.event for slot in past.logs["orders", 0] if slot.event]
    assert page.add_events(strand, everything[:3], 0, 3)
    assert page.add_events(strand, everything[:2], 0, 2)
    assert (strand.read_offset, len(strand.buffered)) == (3, 3)


def test_events_below_the_place_of_a_partition_are_passed_over() -> None:
    past = filled([1, 2, 3, 4])
    page = past.begin_page(
        session_of_ann(),
        decode_cursor(next_page(past, session_of_ann(), None, 2, lambda: 1).cursor),
        10,
    )
    (strand,) = page.partitions_to_read()
    everything = [slot.event for slot in past.logs["orders", 0] if slot.event]
    assert not page.add_events(strand, everything, 0, 4), "there is no more of it"
    assert page.merge()
    assert read_written_page(page).positions == ["orders:0:2", "orders:0:3"]


def test_a_page_of_a_topic_that_was_created_again_is_not_gone_on_with() -> None:
    past = filled([1, 2], floor=0)
    page = past.begin_page(session_of_ann(), None, 10)
    (strand,) = page.partitions_to_read()
    past.hub.set_start_offsets("orders", OTHER_TOPIC_ID, {0: 0})
    with pytest.raises(TopicChanged):
        page.check_topics()
    with pytest.raises(TopicChanged):
        page.read_from_journal(strand, past.hub.journal)


def test_what_the_instance_has_not_read_yet_is_not_in_the_journal() -> None:
    past = filled([1, 2, 3], floor=0)
    past.logs["orders", 0] += [Slot(4, event(3, timestamp=4, all=True))]
    past.logs["orders", 1] = [Slot(2, event(0, timestamp=2, all=True))]
    page = past.begin_page(session_of_ann(), None, 10)
    first, second = page.partitions_to_read()
    assert not page.is_ahead_of_consumer(first)
    assert page.read_from_journal(first, past.hub.journal)
    assert first.read_offset == 3
    assert page.is_ahead_of_consumer(first)
    assert page.is_ahead_of_consumer(second), "a partition that the instance does not know"
    assert not page.read_from_journal(first, past.hub.journal)
    assert not page.read_from_journal(second, past.hub.journal)


def test_a_frame_is_the_one_that_a_connection_gets() -> None:
    past = HistoryModel(
        {
            ("orders", 0): [
                Slot(5, event(0, b"1.00", timestamp=5, rooms=["r"], tag="t", meta=b"{}"))
            ]
        },
        {("orders", 0): 0},
    )
    page = past.begin_page(session_of_ann(), None, 10)
    past.fill_page(page, page.partitions_to_read()[0], 1)
    page.merge()
    (frame,) = page.event_frames
    assert frame == (
        b'{"op":"event","topic":"orders","at":"orders:0:0","to":"room:r","id":"orders:0:0",'
        b'"type":"event","time":"1970-01-01T00:00:00.005Z","tag":"t","meta":{},"data":1.00}'
    )
