"""Where reading begins: at the end, at the beginning of what is new, and at a new life's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, add_partitions, create_topic, delete_topic, produce
from tests.kafka.recording_sink import DeliveredRecord, plaintext_access, running_consumer

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


def numbered(stem: str, count: int, partition: int = 0) -> list[RecordToProduce]:
    return [RecordToProduce(f"{stem}-{n}".encode(), partition=partition) for n in range(count)]


async def test_an_instance_starts_at_the_end(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name, 2)
    await produce(kafka.bootstrap, topic_name, numbered("before", 3))
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        ((identity, begun),) = it.sink.starts_by_topic_id().items()
        assert begun == {0: 3, 1: 0}
        assert len(identity) == 8
        after = [*numbered("after", 2), *numbered("after", 2, partition=1)]
        await produce(kafka.bootstrap, topic_name, after)
        await it.sink.wait_for_records(4)
    assert it.sink.offsets_by_partition() == {0: [3, 4], 1: [0, 1]}
    assert it.sink.skip_calls() == []


async def test_partitions_that_are_added_are_read_from_their_beginning(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    await produce(kafka.bootstrap, topic_name, numbered("before", 3))
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        await it.client.hold_metadata()
        await add_partitions(kafka.bootstrap, topic_name, 3)
        await produce(kafka.bootstrap, topic_name, numbered("unseen", 3, partition=2))
        it.client.release_metadata()
        await it.sink.wait_for_records(3)
        await produce(kafka.bootstrap, topic_name, numbered("after", 1))
        await it.sink.wait_for_records(4)
    assert it.sink.offsets_by_partition() == {2: [0, 1, 2], 0: [3]}
    assert it.sink.begin_calls()[0].offsets == {0: 3}
    assert list(it.sink.starts_by_topic_id().values()) == [{0: 3, 1: 0, 2: 0}], (
        "it is the same topic"
    )


async def test_a_topic_that_is_created_late_is_read_from_its_beginning(
    kafka: KafkaCluster, topic_name: str
) -> None:
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        assert it.sink.calls == []
        await it.client.hold_metadata()
        await create_topic(kafka.bootstrap, topic_name, 2)
        await produce(kafka.bootstrap, topic_name, numbered("unseen", 3))
        it.client.release_metadata()
        await it.sink.wait_for_records(3)
        await produce(kafka.bootstrap, topic_name, numbered("after", 1, partition=1))
        await it.sink.wait_for_records(4)
    assert it.sink.offsets_by_partition() == {0: [0, 1, 2], 1: [0]}
    assert list(it.sink.starts_by_topic_id().values()) == [{0: 0, 1: 0}]


@pytest.mark.parametrize("unseen", [2, 9], ids=["shorter", "grown past the old position"])
@pytest.mark.parametrize("seen_gone", [True, False], ids=["seen gone", "never seen gone"])
async def test_a_topic_that_comes_back_is_another_one(
    kafka: KafkaCluster, topic_name: str, unseen: int, seen_gone: bool
) -> None:
    """Whether an instance looks at the topics while it is gone, or only after it is back."""
    await create_topic(kafka.bootstrap, topic_name)
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        await produce(kafka.bootstrap, topic_name, numbered("old", 5))
        await it.sink.wait_for_records(5)
        if not seen_gone:
            await it.client.hold_metadata()
        await delete_topic(kafka.bootstrap, topic_name)
        if seen_gone:
            await it.client.wait_for_refresh()
            await it.client.hold_metadata()
        await create_topic(kafka.bootstrap, topic_name)
        await produce(kafka.bootstrap, topic_name, numbered("new", unseen))
        it.client.release_metadata()
        await it.sink.wait_for_records(5 + unseen)
        await produce(kafka.bootstrap, topic_name, numbered("after", 1))
        await it.sink.wait_for_records(6 + unseen)
    assert list(it.sink.starts_by_topic_id().values()) == [{0: 0}, {0: 0}]
    assert b"" not in it.sink.starts_by_topic_id()
    assert it.sink.offsets_by_partition() == {0: [*range(5), *range(unseen + 1)]}
    new = [b"new-%d" % n for n in range(unseen)]
    assert it.sink.values()[5:] == [*new, b"after-0"]
    assert it.sink.skip_calls() == []
    # The sink hears of the new life before anything of it, and of nothing of the old one after.
    at = it.sink.calls.index(it.sink.begin_calls()[-1])
    assert [each.offset for each in it.sink.calls[:at] if isinstance(each, DeliveredRecord)] == [
        *range(5)
    ]
