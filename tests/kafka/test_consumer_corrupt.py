"""Bytes that rotted on the broker's disk, in a segment that is closed: told, and passed.

Of the damaged batch nothing arrives, of all others everything, with no restart of the reader.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, produce
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.disk_corruption import (
    CHECKSUM_AT,
    COUNT_AT,
    LAST_AT,
    LENGTH_AT,
    MAGIC_AT,
    PAYLOAD_AT,
    RECORD_COUNT,
    fill_topic,
    flip_byte,
    record_value,
)
from tests.kafka.recording_sink import DeliveredRecord, SkipCall, plaintext_access, running_consumer

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.kafka

HEADER = (
    0,
    7,
    LENGTH_AT,
    LENGTH_AT + 3,
    MAGIC_AT,
    CHECKSUM_AT,
    CHECKSUM_AT + 5,
    LAST_AT + 3,
    COUNT_AT,
)


@pytest.fixture(scope="module")
def own():
    with KafkaCluster() as cluster:
        yield cluster


async def test_a_damaged_batch_is_told_and_what_is_behind_it_arrives(
    own: KafkaCluster, topic_name: str
) -> None:
    """In three places at once: at the very beginning, in the middle, at a segment's end."""
    async with running_consumer(plaintext_access(own.bootstrap), topic_name) as it:
        await it.client.hold_metadata()
        ((segment, damaged),) = await fill_topic(own, topic_name, [0, 30, -1])
        await asyncio.to_thread(own.stop, 0)
        for batch in damaged:
            flip_byte(segment, batch.byte_position + PAYLOAD_AT)
        await asyncio.to_thread(own.start, 0)
        it.client.release_metadata()
        lost = {
            offset for batch in damaged for offset in range(batch.first_offset, batch.next_offset)
        }
        await it.sink.wait_for_records(RECORD_COUNT - len(lost))
    assert it.sink.offsets_by_partition() == {0: [n for n in range(RECORD_COUNT) if n not in lost]}
    assert it.sink.skip_calls() == [
        SkipCall(topic_name, "corrupt", {0: b.next_offset}) for b in damaged
    ]
    for skipped in it.sink.skip_calls():
        assert where(it.sink.calls, skipped), "a gap stands where the records are missing"


async def test_a_damaged_header_is_told_and_what_is_behind_it_arrives(
    own: KafkaCluster, topic_name: str
) -> None:
    """Where a batch no longer says where it ends, more than it is lost, but never silently.

    Each partition has another byte of the header damaged.
    """
    async with running_consumer(plaintext_access(own.bootstrap), topic_name) as it:
        await it.client.hold_metadata()
        places = await fill_topic(own, topic_name, [30], partitions=len(HEADER))
        await asyncio.to_thread(own.stop, 0)
        for at, (segment, (batch,)) in zip(HEADER, places, strict=True):
            flip_byte(segment, batch.byte_position + at)
        await asyncio.to_thread(own.start, 0)
        it.client.release_metadata()
        ends = {(topic_name, p): RECORD_COUNT for p in range(len(HEADER))}
        await it.sink.wait_until(lambda: it.sink.next_offsets == ends)
        after = [RecordToProduce(b"after", partition=p) for p in range(len(HEADER))]
        await produce(own.bootstrap, topic_name, after)
        await it.sink.wait_until(lambda: it.sink.values().count(b"after") == len(HEADER))
    assert all(each.reason == "corrupt" for each in it.sink.skip_calls())
    for partition, at in enumerate(HEADER):
        came = {got.offset: got.value for got in it.sink.delivered() if got.partition == partition}
        written = {n: record_value(n) for n in range(RECORD_COUNT)} | {RECORD_COUNT: b"after"}
        assert it.sink.offsets_by_partition()[partition] == sorted(came), (
            "in order, and nothing twice"
        )
        assert came.items() <= written.items()
        missing = written.keys() - came.keys()
        # The version of the format is under no checksum: all is well once it is understood.
        assert missing or at == MAGIC_AT, f"byte {at} was not looked at"
        told = {each.offsets.get(partition) for each in it.sink.skip_calls()}
        for end in [offset + 1 for offset in missing if offset + 1 not in missing]:
            assert end in told, f"byte {at}: a gap ends at {end}, and was not told: {told}"


def where(said: Sequence[object], skipped: SkipCall) -> bool:
    """Whether `skipped` stands between the records before it and those behind it."""
    at = said.index(skipped)
    (following_offset,) = skipped.offsets.values()
    before = [each.offset for each in said[:at] if isinstance(each, DeliveredRecord)]
    after = [each.offset for each in said[at:] if isinstance(each, DeliveredRecord)]
    return all(n < following_offset for n in before) and all(n >= following_offset for n in after)
