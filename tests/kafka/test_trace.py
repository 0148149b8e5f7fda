"""A record's trace in what is read back from Kafka: for who comes back, and page by page."""

from __future__ import annotations

import pytest

from tests.core.strategies import TRACEPARENT
from tests.kafka.library import Held, library
from tests.kafka.memory import MemoryCluster
from tests.kafka.returning import envelopes, running

TRACED = [("traceparent", TRACEPARENT.encode())]
ADDRESSED = [("push-all", b"true")]


class Kafka(Held, MemoryCluster):
    """A topic `t`."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def put_in(kafka: Kafka) -> list[str | None]:
    """Put in records with a trace and without, addressed both ways; return what each has."""
    kafka.put("t", 0, envelopes(1), headers=TRACED)
    kafka.put("t", 0, envelopes(1))
    kafka.put("t", 0, [b"1"], headers=[*TRACED, *ADDRESSED])
    kafka.put("t", 0, [b"1"], headers=ADDRESSED)
    return [TRACEPARENT, None, TRACEPARENT, None]


async def test_who_comes_back_has_the_trace_from_a_pass(kafka):
    expected = put_in(kafka)
    async with running(kafka, "t") as it:
        client = it.resume(it.at({0: 0}))
        assert (await client.live())["replayed"] == 4
        assert [event.get("traceparent") for event in client.said("event")] == expected


async def test_a_page_from_kafka_has_the_trace(kafka):
    expected = put_in(kafka)
    async with library(kafka, "t") as it:
        page = await it.page()
    assert [event.get("traceparent") for event in page.events] == expected
    assert kafka.fetched


async def test_a_page_from_the_journal_has_the_trace(kafka):
    async with library(kafka, "t") as it:
        expected = put_in(kafka)
        await it.read_up()
        page = await it.page()
    assert [event.get("traceparent") for event in page.events] == expected
    assert not kafka.fetched
