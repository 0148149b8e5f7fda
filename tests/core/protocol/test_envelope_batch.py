"""Contract 2.4: no record is ever an obstacle to the next one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.envelope import Batch, Router
from bridge.core.protocol.event import Event
from tests.core.given import Record, record
from tests.core.reading import outcome
from tests.core.strategies import records


def test_events_nobodys_and_dead_are_told_apart_in_order() -> None:
    dead = record(b"{", offset=3)
    batch = Batch(
        "orders",
        2,
        [
            record({"all": True}, offset=1),
            record({"data": 1}, offset=2),
            dead,
            record(b"1", ("push-all", b"true"), offset=5),
            record(None, offset=6),
        ],
        9,
    )
    routed = Router(100).route(batch)
    assert routed[:2] == ("orders", 2)
    assert [event.offset for event in routed.events] == [1, 5]
    assert routed.next == 9
    assert routed.nobody == 2
    assert [casualty[:3] for casualty in routed.casualties] == [("orders", 2, dead)]
    assert routed.casualties[0].dead.reason == "bad_json"


def test_the_limit_of_an_event_is_the_routers() -> None:
    value = b'{"all":true}'
    batch = Batch("orders", 0, [record(value)], 8)
    assert len(Router(len(value)).route(batch).events) == 1
    assert Router(len(value) - 1).route(batch).casualties[0].dead.reason == "too_large"


def test_an_empty_batch_still_says_how_far_it_was_read() -> None:
    routed = Router(100).route(Batch("orders", 0, [], 12))
    assert routed == ("orders", 0, [], 12, 0, [])


@given(st.lists(records, max_size=5))
def test_every_record_of_a_batch_is_accounted_for_in_order(made: list[Record]) -> None:
    batch = [one._replace(offset=offset) for offset, one in enumerate(made)]
    routed = Router(300).route(Batch("orders", 0, batch, len(batch)))
    results = [outcome(one, 300) for one in batch]
    assert routed.events == [result for result in results if isinstance(result, Event)]
    assert routed.nobody == results.count(None)
    assert [(casualty.record, casualty.dead.reason) for casualty in routed.casualties] == [
        (one, result) for one, result in zip(batch, results, strict=True) if isinstance(result, str)
    ]
