"""A record's trace in what is read back from Kafka: for who comes back, and page by page."""

from __future__ import annotations

import pytest

from tests.core.strategies import TRACEPARENT
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.history_instance import HeldFetchClient, running_history
from tests.kafka.memory_kafka import MemoryKafkaClient

TRACED = [("traceparent", TRACEPARENT.encode())]
ADDRESSED = [("push-all", b"true")]


class Kafka(HeldFetchClient, MemoryKafkaClient):
    """A topic `t`."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def put_in(kafka: Kafka) -> list[str | None]:
    """Put in records with a trace and without, addressed both ways; return what each has."""
    kafka.append("t", 0, envelopes(1), headers=TRACED)
    kafka.append("t", 0, envelopes(1))
    kafka.append("t", 0, [b"1"], headers=[*TRACED, *ADDRESSED])
    kafka.append("t", 0, [b"1"], headers=ADDRESSED)
    return [TRACEPARENT, None, TRACEPARENT, None]


async def test_who_comes_back_has_the_trace_from_a_pass(kafka):
    expected = put_in(kafka)
    async with running_instance(kafka, "t") as it:
        client = it.resume(it.cursor_at({0: 0}))
        assert (await client.wait_live())["replayed"] == 4
        assert [event.get("traceparent") for event in client.frames_of("event")] == expected


async def test_a_page_from_kafka_has_the_trace(kafka):
    expected = put_in(kafka)
    async with running_history(kafka, "t") as it:
        page = await it.page()
    assert [event.get("traceparent") for event in page.events] == expected
    assert kafka.fetched_offsets


async def test_a_page_from_the_journal_has_the_trace(kafka):
    async with running_history(kafka, "t") as it:
        expected = put_in(kafka)
        await it.wait_caught_up()
        page = await it.page()
    assert [event.get("traceparent") for event in page.events] == expected
    assert not kafka.fetched_offsets
