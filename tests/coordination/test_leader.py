"""Which of several instances is on duty, as a real Kafka decides it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from bridge.coordination import leader as dealing
from bridge.coordination.leader import Duties
from bridge.coordination.topics import Own
from bridge.kafka.client.client import Access
from tests.harness.admin import create_topic, fresh_name
from tests.kafka.member import Member, Shift, Worker, members
from tests.kafka.pacing import until
from tests.kafka.tape import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.harness.kafka_cluster import KafkaCluster


@pytest.fixture
async def own(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> Own:
    made = Own(fresh_name("prefix"))
    await create_topic(kafka.bootstrap, made.state)
    monkeypatch.setattr(dealing, "SESSION_MS", 6000)  # the least that a broker takes
    return made


@contextlib.asynccontextmanager
async def running(duties: Duties) -> AsyncIterator[None]:
    task = asyncio.create_task(duties.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def working(of: Iterable[Member]) -> list[Member]:
    return [member for member in of if member.worker.working]


@pytest.mark.kafka
async def test_one_of_three_does_it_and_another_where_that_one_ends(
    kafka: KafkaCluster, own: Own
) -> None:
    shift = Shift()
    with members(kafka.bootstrap, own, 3, shift) as them:
        left = list(them)
        while left:
            await until(lambda: all(member.joined for member in left) and len(working(left)) == 1)
            (one,) = working(left)
            one.stop()
            await asyncio.to_thread(one.join)
            assert not one.worker.working
            left.remove(one)
    assert shift.most == 1


@pytest.mark.kafka
async def test_where_one_is_paused_another_does_it_and_it_stops_once_it_goes_on(
    kafka: KafkaCluster, own: Own
) -> None:
    with members(kafka.bootstrap, own, 2) as them:
        await until(lambda: all(member.joined for member in them) and len(working(them)) == 1)
        (paused,) = working(them)
        (other,) = [member for member in them if member is not paused]
        before = other.worker.begun
        paused.pause()
        await until(lambda: other.worker.begun > before)
        assert paused.worker.working, "it knows nothing of it"
        ended = paused.worker.ended
        paused.resume()
        await until(lambda: paused.worker.ended > ended)
        await until(lambda: len(working(them)) == 1)


@pytest.mark.kafka
async def test_a_work_that_fails_is_begun_anew(
    kafka: KafkaCluster, own: Own, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(fails=2)
    duties = Duties(plain(kafka.bootstrap), own, worker)
    async with running(duties):
        await until(lambda: worker.begun == 3)
        assert duties.on_duty
    assert (worker.ended, duties.on_duty) == (3, False)
    assert caplog.text.count("a duty failed") == 2


async def test_with_the_embedded_broker_it_is_always_on_duty(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dealing, "_RETRY_SECONDS", 0.01)
    worker = Worker(fails=1)
    duties = Duties(Access("127.0.0.1:1", {}, may_create_topics=True), Own("p"), worker)
    async with running(duties):
        await until(lambda: worker.begun == 2)
        assert duties.on_duty
    assert (worker.working, duties.on_duty) == (False, False)
    assert caplog.text.count("a duty failed") == 1
