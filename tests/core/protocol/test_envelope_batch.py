"""Contract 2.4: no record is ever an obstacle to the next one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.event import Event
from bridge.core.protocol.record import Batch, DecodedBatch
from bridge.core.routes.decoder import native_decoder
from tests.core.envelope_results import read_outcome
from tests.core.factories import ConsumerRecord, record
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
    routed = native_decoder(100).decode(batch)
    assert routed[:2] == ("orders", 2)
    assert [event.offset for event in routed.events] == [1, 5]
    assert routed.next_offset == 9
    assert routed.unaddressed == 2
    assert [casualty[:3] for casualty in routed.unusable] == [("orders", 2, dead)]
    assert routed.unusable[0].error.reason == "bad_json"


def test_the_limit_of_an_event_is_the_routers() -> None:
    value = b'{"all":true}'
    batch = Batch("orders", 0, [record(value)], 8)
    assert len(native_decoder(len(value)).decode(batch).events) == 1
    assert native_decoder(len(value) - 1).decode(batch).unusable[0].error.reason == "too_large"


def test_an_empty_batch_still_says_how_far_it_was_read() -> None:
    routed = native_decoder(100).decode(Batch("orders", 0, [], 12))
    assert routed == DecodedBatch("orders", 0, [], 12, 0, [])


@given(st.lists(records, max_size=5))
def test_every_record_of_a_batch_is_accounted_for_in_order(made: list[ConsumerRecord]) -> None:
    batch = [one._replace(offset=offset) for offset, one in enumerate(made)]
    routed = native_decoder(300).decode(Batch("orders", 0, batch, len(batch)))
    results = [read_outcome(one, 300) for one in batch]
    assert routed.events == [result for result in results if isinstance(result, Event)]
    assert routed.unaddressed == results.count(None)
    assert [(casualty.record, casualty.error.reason) for casualty in routed.unusable] == [
        (one, result) for one, result in zip(batch, results, strict=True) if isinstance(result, str)
    ]
