"""`POST /v1/events` to topics whose records headers address: contract-2, section 1, Formats."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol.envelope import decode_by_headers
from bridge.core.protocol.event import Body
from tests.core.factories import ConsumerRecord
from tests.web.publish_api import check_problem, publish_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.publish_api import PublishApiClient

EVENT = {
    "accounts": ["alice", "100%", "Zo\u00eb Q."],
    "rooms": ["order:42"],
    "id": "o-1",
    "type": "shipped",
    "time": "2026-11-21T09:00:00Z",
    "tag": "",
    "meta": {"m": 1.50},
}


@pytest.fixture
async def at() -> AsyncIterator[PublishApiClient]:
    async with publish_api() as opened:
        yield opened


async def published(at: PublishApiClient, **event: Any) -> Any:
    answer = await at.post(event)
    assert answer.status_code == 202, answer.text
    return at.publisher.records[-1]


async def test_an_event_to_a_routed_topic_is_written_with_headers(at: PublishApiClient) -> None:
    written = await published(at, topic="routed", key="k", data={"order": 42}, **EVENT)
    assert (written.key, written.value) == (b"k", b'{"order":42}')
    record = ConsumerRecord(0, 0, None, written.value, written.headers)
    event = decode_by_headers(record, Body.UNCHECKED, written.value, 9)
    assert event is not None
    assert (list(event.accounts), list(event.rooms)) == (EVENT["accounts"], EVENT["rooms"])
    assert (event.id, event.type, event.time) == ("o-1", "shipped", EVENT["time"])
    assert (event.tag, event.meta) == ("", b'{"m":1.5}')


@pytest.mark.parametrize(
    ("topic", "data", "value"),
    [
        ("routed", None, b"null"),
        ("text", "Hello, \u00fc", "Hello, \u00fc".encode()),
        ("text", "", b""),
        ("bytes", base64.b64encode(b"\x00\xff").decode(), b"\x00\xff"),
    ],
)
async def test_data_is_written_as_the_format_has_it(
    at: PublishApiClient, topic: str, data: Any, value: bytes
) -> None:
    written = await published(at, topic=topic, all=True, data=data)
    assert written.value == value
    assert ("push-all", b"true") in written.headers


@pytest.mark.parametrize(
    ("topic", "data"), [("text", 7), ("text", None), ("bytes", "no base64!"), ("avro", {"a": 1})]
)
async def test_what_the_format_cannot_have_is_422(
    at: PublishApiClient, topic: str, data: Any
) -> None:
    check_problem(await at.post({"topic": topic, "all": True, "data": data}), 422)
    assert at.publisher.records == []
