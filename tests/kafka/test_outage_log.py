"""An outage is one pair of lines and one count; a topic that is deleted is a line and a state."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from bridge.app.status import topic_statuses
from bridge.kafka import consumer as consuming
from bridge.kafka import partitions as assigned
from bridge.kafka.consumer import Consumer
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

AWAY = TimeoutError("no answer")


class Timeline:
    """A consumer that is told what happens when, in seconds, without waiting for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: self.now, raising=False)
        self.consumer = Consumer(cast("Any", None), "group", {"t": "t"}, cast("Any", None))

    def answer(self, *at: float) -> None:
        for self.now in at:
            self.consumer._mark_reachable()

    def fail(self, *at: float) -> None:
        for self.now in at:
            self.consumer._mark_unreachable(AWAY)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name == consuming.__name__]


async def on_a_timeline(
    monkeypatch: pytest.MonkeyPatch, story: Callable[[Timeline], None]
) -> Consumer:
    with monkeypatch.context() as patched:
        timeline = Timeline(patched)
        story(timeline)
        return timeline.consumer


async def test_one_broker_of_three_that_dies_is_no_outage(monkeypatch, caplog) -> None:
    def others_answer(timeline: Timeline) -> None:
        for second in range(100, 160):
            timeline.answer(second, second + 0.5)
            timeline.fail(second + 0.7)

    consumer = await on_a_timeline(monkeypatch, others_answer)
    assert (consumer.outages, lines_of(caplog)) == (0, [])


async def test_an_outage_is_one_pair_of_lines_however_often_it_tries(monkeypatch, caplog) -> None:
    def away_for_a_minute(timeline: Timeline) -> None:
        timeline.answer(100.0)
        timeline.fail(*range(101, 160))
        timeline.answer(*range(160, 170))

    consumer = await on_a_timeline(monkeypatch, away_for_a_minute)
    out, back = lines_of(caplog)
    assert "out of reach" in out
    assert "back after 60.0 s" in back
    assert consumer.outages == 1


async def test_brokers_that_come_and_go_make_one_outage(monkeypatch, caplog) -> None:
    def flapping(timeline: Timeline) -> None:
        timeline.answer(100.0)
        for begin in range(100, 160, 8):
            timeline.fail(begin + 3.5, begin + 5)
            assert timeline.consumer.stale_seconds() is not None
            timeline.answer(begin + 6, begin + 8)
            assert timeline.consumer.stale_seconds() is None, "it is told at once"
        timeline.answer(170.0, 175.0)

    consumer = await on_a_timeline(monkeypatch, flapping)
    assert (consumer.outages, len(lines_of(caplog))) == (1, 2)


async def test_two_outages_with_a_quiet_time_between_are_two(monkeypatch, caplog) -> None:
    def twice(timeline: Timeline) -> None:
        for begin in (100, 200):
            timeline.answer(begin)
            timeline.fail(begin + 4)
            timeline.answer(begin + 10, begin + 16)

    consumer = await on_a_timeline(monkeypatch, twice)
    assert (consumer.outages, len(lines_of(caplog))) == (2, 4)


async def test_a_first_request_that_fails_is_told_at_once(monkeypatch, caplog) -> None:
    consumer = await on_a_timeline(monkeypatch, lambda timeline: timeline.fail(100.0))
    assert (consumer.outages, len(lines_of(caplog))) == (1, 1)


async def test_a_topic_that_is_deleted_is_a_line_and_absent(monkeypatch, caplog) -> None:
    monkeypatch.setattr(assigned, "DELETED_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(consuming, "METADATA_REFRESH_SECONDS", 0.02)
    monkeypatch.setattr(consuming, "_REFRESH_DELAY_SECONDS", 0.0)
    kafka = MemoryKafkaClient()
    kafka.create("t", 2)
    kafka.append("t", 0, envelopes(5))
    async with running_instance(kafka, "t") as it:

        def state() -> str:
            (status,) = topic_statuses(it.feed, it.hub, {"t": "t"})
            return status.state

        assert state() == "reading"
        kafka.delete("t")
        await wait_until(lambda: state() == "absent")
        await asyncio.sleep(0.1)
        kafka.create("t")
        await wait_until(lambda: state() == "reading")
    said = [line for line in lines_of(caplog) if "topic t" in line]
    assert len(said) == 2
    assert ("does not exist any more" in said[0], "exists again" in said[1]) == (True, True)


async def test_a_topic_that_never_existed_is_not_called_deleted(caplog) -> None:
    async with running_instance(MemoryKafkaClient(), "t"):
        await asyncio.sleep(0.05)
    (line,) = lines_of(caplog)
    assert line.startswith("topic t does not exist: ")
