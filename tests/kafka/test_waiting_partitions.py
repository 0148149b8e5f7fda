"""Contract 2, section 0: a partition without a leader keeps nobody from being ready."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.kafka import consumer as consuming
from bridge.kafka import partitions as assigned
from bridge.kafka.client.client import TopicPartition
from bridge.kafka.replay import scan as scanning
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.history_instance import HistoryInstance
from tests.kafka.memory_kafka import NOW_MS, MemoryKafkaClient
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from tests.kafka.headless_instance import HeadlessInstance
    from tests.kafka.resuming_client import ResumingClient

LOST = TopicPartition("t", 1)


@pytest.fixture(autouse=True)
def _be_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assigned, "WAITING_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(consuming, "METADATA_REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(consuming, "_REFRESH_DELAY_SECONDS", 0.0)
    monkeypatch.setattr(scanning, "RETRY_SECONDS", 0.02)


def two_partitions(*, is_lost: bool = True) -> MemoryKafkaClient:
    """A topic of two partitions with 300 records each. The second one has no leader."""
    kafka = MemoryKafkaClient()
    kafka.create("t", 2)
    for number in range(2):
        kafka.append("t", number, envelopes(300), int(time.time() * 1000) - 60_000)
    if is_lost:
        kafka.leaderless.add(LOST)
    return kafka


def give_back(kafka: MemoryKafkaClient) -> None:
    kafka.leaderless.discard(LOST)


def append_now(kafka: MemoryKafkaClient, partition: int, count: int) -> None:
    kafka.append("t", partition, envelopes(count), int(time.time() * 1000))


def has_event(client: ResumingClient, partition: int, offset: int) -> bool:
    return offset in client.offsets().get(partition, ())


def is_waiting(it: HeadlessInstance, topic: str = "t") -> bool:
    return bool(it.hub.topic_positions[topic].waiting)


async def test_it_is_ready_and_says_once_which_partition_has_no_leader(caplog) -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        assert it.hub.topic_positions["t"].next_offsets == {0: 300}
        assert is_waiting(it)
        await asyncio.sleep(0.1)
        give_back(kafka)
        await wait_until(lambda: not is_waiting(it))
    said = [each.getMessage() for each in caplog.records if "t:1" in each.getMessage()]
    assert [text for text in said if "no leader" in text] == said[:1]
    assert "are read again" in said[-1]


async def test_a_client_is_welcomed_is_stale_and_gets_what_comes_later() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        client = it.connect_new()
        it.hub.send_heartbeat(client.session, None)
        client.flush()
        (beat,) = client.frames_of("heartbeat")
        assert 0 <= beat["stale"] < 10
        append_now(kafka, 0, 1)
        await client.wait_until(lambda: client.offsets() == {0: [300]})
        give_back(kafka)
        append_now(kafka, 1, 2)
        await client.wait_until(lambda: client.offsets() == {0: [300], 1: [300, 301]})
        it.hub.send_heartbeat(client.session, None)
        client.flush()
        assert "stale" not in client.frames_of("heartbeat")[-1]
        assert client.gaps() == []


async def test_a_partition_that_was_never_read_is_awaited_from_the_time_of_the_cursor() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        client = it.connect_new()
        cursor = client.cursor()
        place = decode_cursor(cursor)["t"]
        assert dict(place.offsets) == {0: 300}
        assert abs(place.awaited[1] - time.time()) < 10
        client.disconnect()
    give_back(kafka)
    kafka.append("t", 1, envelopes(3), int(time.time() * 1000) + 1000)
    async with running_instance(kafka, "t") as other:
        back = other.resume(cursor)
        assert "waiting" not in await back.wait_live()
        assert back.offsets() == {1: [300, 301, 302]}
        assert back.gaps() == []


async def test_a_replay_goes_on_without_it_and_what_it_holds_comes_later_in_order() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        cursor = it.cursor_at({0: 100, 1: 50})
        back = it.resume(cursor)
        live = await back.wait_live()
        assert live["waiting"] == ["t:1"]
        assert decode_cursor(live["cursor"])["t"].offsets == {0: 300, 1: 50}
        assert back.offsets() == {0: [*range(100, 300)]}
        append_now(kafka, 0, 1)
        await back.wait_until(lambda: 300 in back.offsets()[0])
        assert decode_cursor(it.hub.cursor(back.session))["t"].offsets == {0: 301, 1: 50}
        give_back(kafka)
        await back.wait_until(lambda: len(back.frames_of("live")) == 2)
        append_now(kafka, 1, 2)
        await back.wait_until(lambda: 301 in back.offsets().get(1, ()))
        assert back.offsets() == {0: [*range(100, 301)], 1: [*range(50, 302)]}
        assert "waiting" not in back.frames_of("live")[-1]
        assert back.gaps() == []


async def test_a_partition_that_loses_its_leader_later_is_waited_for_alike() -> None:
    kafka = two_partitions(is_lost=False)
    async with running_instance(kafka, "t") as it:
        client = it.connect_new()
        kafka.leaderless.add(LOST)
        await wait_until(lambda: is_waiting(it))
        back = it.resume(it.cursor_at({0: 300, 1: 50}))
        assert (await back.wait_live())["waiting"] == ["t:1"]
        assert back.offsets() == {}
        there = it.resume(it.cursor_at({0: 299, 1: 300}))
        assert (await there.wait_live())["waiting"] == ["t:1"]
        append_now(kafka, 0, 1)
        give_back(kafka)
        append_now(kafka, 1, 1)
        for each, missed in ((client, []), (there, []), (back, [*range(50, 300)])):
            await wait_until(partial(has_event, each, 1, 300))
            assert each.offsets()[1] == [*missed, 300]
            assert each.offsets()[0][-1] == 300
            assert each.gaps() == []


async def test_one_that_loses_its_leader_in_the_middle_of_a_replay_ends_nothing() -> None:
    kafka = two_partitions(is_lost=False)
    kafka.append("t", 0, envelopes(5_000), NOW_MS)
    kafka.append("t", 1, envelopes(5_000), NOW_MS)
    async with running_instance(kafka, "t") as it:
        back = it.resume(it.cursor_at({0: 0, 1: 0}))
        await back.wait_until(lambda: back.frames_of("event"))
        kafka.leaderless.add(LOST)
        live = await back.wait_live()
        assert back.offsets()[0] == [*range(5_300)]
        if "waiting" in live:  # unless it had all before
            reached = decode_cursor(live["cursor"])["t"].offsets[1]
            assert back.offsets().get(1, []) == [*range(reached)]
        give_back(kafka)
        await back.wait_until(lambda: len(back.frames_of("event")) == 2 * 5_300)
        assert back.offsets()[1] == [*range(5_300)]
        assert back.gaps() == []


async def test_all_partitions_of_one_topic_hold_up_no_other_topic() -> None:
    kafka = two_partitions()
    kafka.create("u")
    kafka.append("u", 0, envelopes(5))
    kafka.leaderless.add(TopicPartition("t", 0))
    async with running_instance(kafka, "t", "u") as it:
        back = it.resume({"u": TopicOffsets(it.hub.topic_positions["u"].topic_id, {0: 2})})
        live = await back.wait_live()
        assert live["waiting"] == ["t:0", "t:1"]
        assert back.offsets() == {0: [2, 3, 4]}
        assert decode_cursor(live["cursor"])["t"].awaited.keys() == {0, 1}


async def test_since_goes_on_without_it_and_later_begins_there_too() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        back = await it.connect_since(int(time.time() * 1000) - 120_000)
        assert (await back.wait_live())["waiting"] == ["t:1"]
        assert back.offsets() == {0: [*range(300)]}
        give_back(kafka)
        await back.wait_until(lambda: 299 in back.offsets().get(1, ()))
        assert back.offsets() == {0: [*range(300)], 1: [*range(300)]}
        assert back.gaps() == []


async def test_a_partition_in_its_cursor_without_records_seen_comes_from_its_beginning() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        back = it.resume(it.cursor_at({0: 300}))
        assert (await back.wait_live())["waiting"] == ["t:1"]
        give_back(kafka)
        await back.wait_until(lambda: 299 in back.offsets().get(1, ()))
        assert back.offsets() == {1: [*range(300)]}


async def test_a_topic_on_demand_that_is_asleep_wakes_whole_or_not() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t", linger=60.0, wait=0.3) as it:
        assert not is_waiting(it), "it is asleep"
        assert not await it.sleepers.wait_until_active(["t"])


async def test_history_goes_on_without_it_and_the_next_page_has_the_rest() -> None:
    kafka = two_partitions()
    async with running_instance(kafka, "t") as it:
        library = HistoryInstance(it, wait=2)
        page = await library.page(limit=1000)
        assert (len(page.events), page.more, page.waiting) == (300, False, ["t:1"])
        asked = encode_cursor(it.cursor_at({0: 290, 1: 280}), int(time.time()))
        placed = await library.page(asked)
        assert (len(placed.events), placed.waiting) == (10, ["t:1"])
        assert decode_cursor(placed.cursor)["t"].offsets == {0: 300, 1: 280}
        give_back(kafka)
        await wait_until(lambda: not is_waiting(it))
        rest = await library.page(placed.cursor)
        assert (len(rest.events), rest.waiting) == (20, [])
        rest = await library.page(page.cursor, limit=1000)
        assert len(rest.events) == 300


async def test_what_nobody_waited_for_yet_is_waited_for(monkeypatch) -> None:
    """A leader that is away for less than the time keeps the instance waiting."""
    kafka = two_partitions()
    monkeypatch.setattr(assigned, "WAITING_AFTER_SECONDS", 3600.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), running_instance(kafka, "t"):
            pass


async def test_many_partitions_without_a_leader_are_one_line(caplog) -> None:
    kafka = MemoryKafkaClient()
    kafka.create("t", 500)
    kafka.leaderless.update(TopicPartition("t", number) for number in range(1, 500))
    async with running_instance(kafka, "t"):
        pass
    lines = [each.getMessage() for each in caplog.records if "no leader" in each.getMessage()]
    assert len(lines) == 1
    assert lines[0].endswith(" and 479 more")
