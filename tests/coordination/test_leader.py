"""Leader election among several instances, on a real Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from bridge.coordination import leader as leader_module
from bridge.coordination.leader import LeaderElection
from bridge.coordination.topics import BridgeTopics
from bridge.kafka.client.client import KafkaAccess
from tests.coordination.election_member import (
    ConcurrencyCounter,
    ElectionMember,
    RecordingTask,
    running_members,
)
from tests.harness.admin import create_topic, fresh_name
from tests.kafka.held_replays import wait_until
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.harness.kafka_cluster import KafkaCluster


@pytest.fixture
async def own(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> BridgeTopics:
    made = BridgeTopics(fresh_name("prefix"))
    await create_topic(kafka.bootstrap, made.state)
    monkeypatch.setattr(leader_module, "SESSION_TIMEOUT_MS", 6000)  # the minimum of a broker
    return made


@contextlib.asynccontextmanager
async def running(election: LeaderElection) -> AsyncIterator[None]:
    task = asyncio.create_task(election.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def working(of: Iterable[ElectionMember]) -> list[ElectionMember]:
    return [member for member in of if member.task.is_running]


@pytest.mark.kafka
async def test_one_of_three_leads_and_another_when_it_stops(
    kafka: KafkaCluster, own: BridgeTopics
) -> None:
    counter = ConcurrencyCounter()
    with running_members(kafka.bootstrap, own, 3, counter) as members:
        left = list(members)
        while left:
            await wait_until(
                lambda: all(member.has_joined for member in left) and len(working(left)) == 1
            )
            (one,) = working(left)
            one.stop()
            await asyncio.to_thread(one.join)
            assert not one.task.is_running
            left.remove(one)
    assert counter.max_running == 1


@pytest.mark.kafka
async def test_a_paused_leader_is_replaced_and_stops_when_resumed(
    kafka: KafkaCluster, own: BridgeTopics
) -> None:
    with running_members(kafka.bootstrap, own, 2) as members:
        await wait_until(
            lambda: all(member.has_joined for member in members) and len(working(members)) == 1
        )
        (paused,) = working(members)
        (other,) = [member for member in members if member is not paused]
        before = other.task.start_count
        paused.pause()
        await wait_until(lambda: other.task.start_count > before)
        assert paused.task.is_running, "it does not know yet"
        ended = paused.task.end_count
        paused.resume()
        await wait_until(lambda: paused.task.end_count > ended)
        await wait_until(lambda: len(working(members)) == 1)


@pytest.mark.kafka
async def test_a_failed_task_starts_again(
    kafka: KafkaCluster, own: BridgeTopics, caplog: pytest.LogCaptureFixture
) -> None:
    task = RecordingTask(failures=2)
    election = LeaderElection(plaintext_access(kafka.bootstrap), own, task)
    async with running(election):
        await wait_until(lambda: task.start_count == 3)
        assert election.is_leader
    assert (task.end_count, election.is_leader) == (3, False)
    assert caplog.text.count("a leader task failed") == 2


async def test_with_the_embedded_broker_it_is_always_the_leader(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leader_module, "_RETRY_SECONDS", 0.01)
    task = RecordingTask(failures=1)
    election = LeaderElection(
        KafkaAccess("127.0.0.1:1", {}, may_create_topics=True), BridgeTopics("p"), task
    )
    async with running(election):
        await wait_until(lambda: task.start_count == 2)
        assert election.is_leader
    assert (task.is_running, election.is_leader) == (False, False)
    assert caplog.text.count("a leader task failed") == 1
