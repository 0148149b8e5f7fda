"""Who shares a pass over Kafka's records, who waits for one, and who does not have to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.replay.catchup import CatchUp
from bridge.kafka.client.client import TopicPartition
from bridge.kafka.replay import scan as replay_scan
from bridge.kafka.replay import scheduler
from tests.kafka.headless_instance import envelope, envelopes, running_instance
from tests.kafka.held_replays import wait_until
from tests.kafka.sparse_topics import SparseKafka, matching_offsets, sparse_values, wait_all_live

if TYPE_CHECKING:
    from tests.kafka.headless_instance import HeadlessInstance

T = TopicPartition("t", 0)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> SparseKafka:
    """With few records, so that a few more of them are many."""
    monkeypatch.setattr(scheduler, "_SMALL_SCAN_RECORDS", 100)
    return SparseKafka()


def count(it: HeadlessInstance) -> int:
    return it.source.records_read


async def test_those_who_come_back_together_read_the_range_once(kafka):
    kafka.append("t", 0, sparse_values(2000))
    async with running_instance(kafka, "t") as it:
        clients = [it.resume(it.cursor_at({0: n})) for n in range(200)]
        await wait_all_live(*clients)
        assert count(it) == 2000
        for n, client in enumerate(clients):
            assert client.offsets() == matching_offsets(n, 2000)
            assert client.ops() == ["welcome", "event", "live"]
            assert client.frames_of("live")[0]["replayed"] == len(matching_offsets(n, 2000)[0])


async def test_one_who_comes_while_a_pass_has_not_come_so_far_enters_it(kafka):
    kafka.append("t", 0, sparse_values(2000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 1000)
        first = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 1300}))
        await wait_until(lambda: second.session.index is not None)
        kafka.release()
        await wait_all_live(first, second)
        assert count(it) == 2000
        assert second.offsets() == matching_offsets(1300, 2000)
        assert kafka.max_concurrent_fetches == 1


async def test_one_whom_a_pass_has_come_by_waits_for_the_journal_to_have_it(kafka):
    kafka.append("t", 0, sparse_values(2000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        first = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 100}))
        third = it.resume(it.cursor_at({0: 0}))
        await wait_until(lambda: len(it.replayer._awaiting_scan) == 2)
        kafka.release()
        await wait_all_live(first, second, third)
        assert count(it) == 2000
        assert second.offsets() == matching_offsets(100, 2000)
        assert third.offsets() == first.offsets() == matching_offsets(0, 2000)


async def test_the_next_who_comes_back_finds_it_in_the_journal(kafka):
    kafka.append("t", 0, sparse_values(2000))
    async with running_instance(kafka, "t") as it:
        await wait_all_live(it.resume(it.cursor_at({0: 1000})))
        assert it.hub.journal.start_offset("t", 0) == 1000
        await wait_all_live(again := it.resume(it.cursor_at({0: 1000}), "bob"))
        assert again.offsets() == matching_offsets(1000, 2000)
        assert count(it) == 1000
        await wait_all_live(further := it.resume(it.cursor_at({0: 0}), "eve"))
        assert further.offsets() == matching_offsets(0, 2000)
        assert count(it) == 2000, "only what the journal had not"


async def test_a_pass_ends_when_the_last_of_its_sessions_has_left(kafka):
    kafka.append("t", 0, sparse_values(2000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        clients = [it.resume(it.cursor_at({0: n})) for n in range(10)]
        await kafka.wait_until_held()
        fetches = len(kafka.fetched_offsets)
        for client in clients:
            client.disconnect()
        kafka.release()
        await wait_until(lambda: not it.replayer._scans)
        assert len(kafka.fetched_offsets) == fetches
        assert it.hub.journal.start_offset("t", 0) == 2000, (
            "what was not read to the end is not kept"
        )
        assert it.hub.journal.used_bytes == 0, "nor does it take memory"


@pytest.mark.parametrize(("small", "large"), [("t", "u"), ("u", "t")])
async def test_who_has_what_it_needs_does_not_wait_for_the_rest_of_a_pass(kafka, small, large):
    kafka.append(small, 0, envelopes(10))
    kafka.append(large, 0, envelopes(350))
    async with running_instance(kafka, small, large) as it:
        kafka.hold_fetches(lambda wanted: wanted.get(TopicPartition(large, 0), 0) > 100)
        both = it.resume(it.cursor_at({0: 0}, {0: 0}))
        one = it.resume(it.cursor_at({0: 0}), topics=[small])
        await wait_all_live(one)
        assert one.offsets() == {0: [*range(10)]}
        assert not both.frames_of("live")
        kafka.release()
        await wait_all_live(both)
        assert kafka.max_concurrent_fetches == 1
        assert count(it) == 360


async def test_who_goes_as_its_pass_begins_is_not_taken_along(kafka, monkeypatch):
    """Of many, who enter a few at a time."""
    kafka.append("t", 0, sparse_values(500))
    sound = replay_scan.Scan.add
    async with running_instance(kafka, "t") as it:
        clients = [it.resume(it.cursor_at({0: 0})) for _ in range(250)]

        def enter(self, session):
            sound(self, session)
            if len(self.sessions) == 50:
                for client in clients:
                    if client.session not in self.sessions:
                        client.disconnect()

        monkeypatch.setattr(replay_scan.Scan, "add", enter)
        await wait_until(lambda: len(it.hub.subscriptions.all_sessions) == 50)
        assert not it.hub.replaying


async def test_a_journal_too_small_for_the_range_still_gives_everything_once(kafka):
    kafka.append("t", 0, sparse_values(5000, size=1000))
    async with running_instance(kafka, "t", journal=0) as it:
        clients = [it.resume(it.cursor_at({0: n * 500})) for n in range(5)]
        await wait_all_live(*clients)
        for n, client in enumerate(clients):
            assert client.offsets() == matching_offsets(n * 500, 5000)
        assert it.hub.journal.start_offset("t", 0) == 5000


async def test_one_who_waits_for_a_journal_that_can_not_hold_it_reads_by_itself(kafka):
    """As soon as that is known: not only when the pass that it waited for has ended."""
    kafka.append("t", 0, sparse_values(5000, size=1000))
    async with running_instance(kafka, "t", journal=0) as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        first = it.resume(it.cursor_at({0: 0}), "bob")
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 0}))
        await wait_until(lambda: it.replayer._awaiting_scan and not it.replayer._newly_awaiting)
        kafka.hold_fetches(lambda wanted: wanted[T] > 4500)
        await wait_until(lambda: second.session.index is not None)
        assert first.session.index is not None
        kafka.release()
        await wait_all_live(first, second)
        assert first.offsets() == second.offsets() == matching_offsets(0, 5000)


async def test_nothing_is_lost_where_the_journal_begins_later_from_one_portion_to_the_next(
    kafka, monkeypatch
):
    """What the pass had left to the journal is its own again."""
    monkeypatch.setattr(replay_scan, "MAX_PORTION_FRAMES", 10)
    sound = CatchUp.deliver_scanned
    async with running_instance(kafka, "t") as it:
        watcher = it.connect_new("eve")
        kafka.append("t", 0, envelopes(1000))
        await watcher.wait_until(lambda: it.hub.topic_positions["t"].next_offsets == {0: 1000})
        tail = it.hub.journal.partition("t", 0)
        tail.start_offset = 555

        def scan(self, scan, routed):
            full = sound(self, scan, routed)
            if scan.next_offsets["t", 0] == 555:
                tail.start_offset = 777
            return full

        monkeypatch.setattr(CatchUp, "deliver_scanned", scan)
        await wait_all_live(back := it.resume(it.cursor_at({0: 0})))
        assert back.offsets() == {0: [*range(1000)]}
        assert tail.start_offset == 0, "it was read up to there"


async def test_nothing_is_read_that_the_journal_has(kafka):
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t") as it:
        client = it.connect_new()
        kafka.append("t", 0, envelopes(1000))
        await client.wait_until(lambda: len(client.frames_of("event")) == 1000)
        await wait_all_live(back := it.resume(it.cursor_at({0: 990})))
        assert back.offsets() == {0: [*range(990, 2000)]}
        assert count(it) <= 100, "a batch at most"


async def test_what_happens_meanwhile_comes_after_the_replay_and_once(kafka):
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        back, there = it.resume(it.cursor_at({0: 0})), it.connect_new()
        await kafka.wait_until_held()
        kafka.append("t", 0, envelopes(10))
        await there.wait_until(lambda: len(there.frames_of("event")) == 10)
        kafka.release()
        await back.wait_live()
        kafka.append("t", 0, [envelope(1)])
        await back.wait_until(lambda: len(back.frames_of("event")) == 1011)
        assert back.offsets() == {0: [*range(1011)]}
        assert back.frames_of("live")[0]["replayed"] == 1010
