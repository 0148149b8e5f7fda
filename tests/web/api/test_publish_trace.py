"""`POST /v1/events` within a trace: it goes on in the record, if it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.envelope import decode_record
from tests.core.strategies import TRACEPARENT
from tests.web.in_process_bridge import TIMESTAMP, ConsumerRecord
from tests.web.publish_api import BEARER, publish_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.publish_api import PublishApiClient

EVENT = {"topic": "orders", "accounts": ["alice"]}


@pytest.fixture
async def at() -> AsyncIterator[PublishApiClient]:
    async with publish_api() as opened:
        yield opened


@pytest.mark.parametrize("name", ["traceparent", "Traceparent"])
async def test_the_trace_of_the_caller_goes_on_in_the_record(
    at: PublishApiClient, name: str
) -> None:
    answer = await at.post(EVENT, headers={**BEARER, name: TRACEPARENT})
    assert answer.status_code == 202
    (written,) = at.publisher.records
    assert written.headers == [("traceparent", TRACEPARENT.encode())]
    event = decode_record(
        ConsumerRecord(0, TIMESTAMP, None, written.value, written.headers), 1 << 20
    )
    assert event is not None
    assert event.traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": TRACEPARENT.upper()},
        {"traceparent": f"{TRACEPARENT}, {TRACEPARENT}"},
        {"traceparent": ""},
        {"traceparent": "\xe4"},
        {"tracestate": "a=b"},
    ],
)
async def test_a_trace_that_is_not_valid_is_not_written(
    at: PublishApiClient, headers: dict[str, str]
) -> None:
    raw = [(name, value.encode("latin-1")) for name, value in {**BEARER, **headers}.items()]
    assert (await at.post(EVENT, headers=raw)).status_code == 202
    assert at.publisher.records[0].headers == []


async def test_a_trace_that_comes_twice_is_not_written(at: PublishApiClient) -> None:
    twice = [*BEARER.items(), *[("traceparent", TRACEPARENT)] * 2]
    assert (await at.post(EVENT, headers=twice)).status_code == 202
    assert at.publisher.records[0].headers == []
