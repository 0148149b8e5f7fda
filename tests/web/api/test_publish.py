"""`POST /v1/events`: what is accepted is written as it was posted, and every error is its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.ports import NotAcknowledged, RecordRefused, RecordTooLarge
from bridge.core.protocol.envelope import decode_record
from bridge.core.protocol.event import Body
from bridge.web.api.bodies import InvalidField
from bridge.web.api.publish import encode_envelope, parse_publication
from tests.web.in_process_bridge import TIMESTAMP, ConsumerRecord
from tests.web.publish_api import (
    BEARER,
    EVENT_BYTES,
    MAX_ADDRESSES,
    TOKEN,
    check_problem,
    publish_api,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.publish_api import PublishApiClient

EVENT = {"topic": "orders", "accounts": ["alice"]}


@pytest.fixture
async def at() -> AsyncIterator[PublishApiClient]:
    async with publish_api() as opened:
        yield opened


# -- what is written -------------------------------------------------------------------------------


async def test_an_event_is_written_and_its_id_and_position_are_told(at: PublishApiClient) -> None:
    answer = await at.post({**EVENT, "id": "o-1842", "key": "42", "data": {"order": 42}})
    assert (answer.status_code, answer.json()) == (202, {"id": "o-1842", "at": "orders:3:0"})
    (written,) = at.publisher.records
    assert (written.topic, written.key) == ("orders", b"42")
    expected = {"id": "o-1842", "accounts": ["alice"], "data": {"order": 42}}
    assert json.loads(written.value) == expected


async def test_an_event_without_an_id_is_given_one(at: PublishApiClient) -> None:
    ids = {(await at.post(EVENT)).json()["id"] for _ in range(3)}
    assert ids == {json.loads(written.value)["id"] for written in at.publisher.records}
    assert len(ids) == 3


@pytest.mark.parametrize(
    "data",
    [
        "12345678901234567890123456789.10",
        "1e400",
        "-0.0",
        '{"b": 1, "a": 2, "b": 3}',
        '"\\u00e4\\n"',
        "[ 1 ,\t2 ]",
        "null",
    ],
)
async def test_data_keeps_its_tokens(at: PublishApiClient, data: str) -> None:
    body = b'{"topic": "orders", "all": true, "data": %b , "meta": %b}' % (
        data.encode(),
        data.encode(),
    )
    assert (await at.post(body)).status_code == 202
    assert at.publisher.records[0].value.count(data.encode()) == 2
    event = decode_record(
        ConsumerRecord(0, TIMESTAMP, None, at.publisher.records[0].value, ()), 1 << 20
    )
    assert event is not None
    assert event.data == data.encode()


async def test_every_field_of_the_envelope_is_written(at: PublishApiClient) -> None:
    fields = {
        "id": "i",
        "type": "order.shipped",
        "time": "2026-11-21T09:00:00+01:00",
        "tag": "3",
        "accounts": ["alice"],
        "rooms": ["order:42"],
        "connections": ["c"],
        "all": False,
        "meta": {"trace": "4bf9"},
        "data": [1],
    }
    assert (await at.post({"topic": "news", **fields})).status_code == 202
    assert json.loads(at.publisher.records[0].value) == fields


async def test_null_is_absent_and_what_is_not_known_is_passed_over(at: PublishApiClient) -> None:
    absent = dict.fromkeys(("key", "id", "type", "time", "tag", "rooms", "connections", "meta"))
    answer = await at.post({**EVENT, **absent, "priority": 7})
    assert answer.status_code == 202
    assert at.publisher.records[0].key is None
    event = decode_record(
        ConsumerRecord(0, TIMESTAMP, None, at.publisher.records[0].value, ()), 1 << 20
    )
    assert event is not None
    assert (event.type, event.time, event.tag, event.meta) == ("event", None, None, None)
    assert (event.body, event.data) == (Body.JSON, b"null")
    assert "priority" not in json.loads(at.publisher.records[0].value)


# -- what is not -----------------------------------------------------------------------------------


async def refused(at: PublishApiClient, body: Any, status: int, **more: Any) -> str:
    detail: str = check_problem(await at.post(body, **more), status)["detail"]
    assert at.publisher.records == []
    return detail


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"{", b'{"topic": 5', b"\xff", b'{"a": NaN}', b"[" * 5000, b"{} {}"]
)
async def test_what_is_no_json_is_a_400(at: PublishApiClient, body: bytes) -> None:
    await refused(at, body, 400)


WRONG: dict[str, tuple[Any, ...]] = {
    "topic": (5, None, ["orders"]),
    "key": (5, ["k"], {}),
    "id": (5, True),
    "type": (5, []),
    "tag": (5, {}),
    "time": (5, "yesterday", "2026-13-01T00:00:00Z", "2026-11-21"),
    "accounts": ("alice", [5], [None], [""], ["a,b"], ["a*"]),
    "rooms": ("r", ["\n"], ["x" * 201], {"r": 1}),
    "connections": ("c", [[]], ["a", ""]),
    "all": ("true", 1, []),
}


@pytest.mark.parametrize(
    ("field", "wrong"), [(field, value) for field, values in WRONG.items() for value in values]
)
async def test_a_wrong_field_is_a_422_that_names_it(
    at: PublishApiClient, field: str, wrong: Any
) -> None:
    assert field in await refused(at, {**EVENT, field: wrong}, 422)


@pytest.mark.parametrize("body", [[], 5, "text", None, True])
async def test_what_is_no_object_is_a_422(at: PublishApiClient, body: Any) -> None:
    await refused(at, json.dumps(body).encode(), 422)


async def test_an_event_without_a_topic_is_a_422(at: PublishApiClient) -> None:
    assert "topic" in await refused(at, {"all": True}, 422)


@pytest.mark.parametrize(
    "audience",
    [{}, {"accounts": []}, {"all": False}, {"accounts": None, "rooms": [], "all": None}],
)
async def test_an_event_for_nobody_is_a_422(at: PublishApiClient, audience: dict[str, Any]) -> None:
    assert "no audience" in await refused(at, {"topic": "orders", **audience}, 422)


@pytest.mark.parametrize(
    "topic", ["nothing", "", "push-bridge.control", "or/ders", "\n", "x" * 999]
)
async def test_a_topic_that_is_not_there_is_a_404(at: PublishApiClient, topic: str) -> None:
    await refused(at, {**EVENT, "topic": topic}, 404)


async def test_what_is_larger_than_a_record_may_be_is_a_413(at: PublishApiClient) -> None:
    fields = {"id": "i", "all": True, "data": ""}
    room = EVENT_BYTES - len(json.dumps(fields, separators=(",", ":")))
    fits = {"topic": "orders", **fields, "data": "x" * room}
    assert (await at.post(fits)).status_code == 202
    assert len(at.publisher.records.pop().value) == EVENT_BYTES
    assert "EVENT_BYTES" in await refused(at, {**fits, "data": "x" * (room + 1)}, 413)


async def test_a_body_without_an_end_is_given_up_early(at: PublishApiClient) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 10_000

    check_problem(await at.http.post("/v1/events", headers=BEARER, content=endless()), 413)
    assert sent < 10


async def test_more_names_than_the_limit_are_a_422(at: PublishApiClient) -> None:
    names = [f"{number}" for number in range(MAX_ADDRESSES)]
    too_many = {"topic": "orders", "rooms": names, "accounts": ["a"]}
    assert "BRIDGE_LIMITS__AUDIENCE" in await refused(at, too_many, 422)
    assert (await at.post({"topic": "orders", "rooms": names})).status_code == 202


async def test_what_kafka_finds_too_large_is_a_413(at: PublishApiClient) -> None:
    at.publisher.error = RecordTooLarge("too large")
    assert "Kafka" in await refused(at, EVENT, 413)


async def test_what_kafka_refuses_for_certain_is_a_422_that_says_why(at: PublishApiClient) -> None:
    at.publisher.error = RecordRefused("the clock of this instance differs from Kafka's")
    detail = await refused(at, EVENT, 422)
    assert "nothing was written" in detail
    assert "clock" in detail


async def test_what_is_not_acknowledged_is_a_503_with_the_id_to_try_again_with(
    at: PublishApiClient,
) -> None:
    at.publisher.error = NotAcknowledged()
    answer = await at.post(EVENT)
    body = check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) >= 1
    at.publisher.error = None
    assert (await at.post({**EVENT, "id": body["id"]})).json()["id"] == body["id"]
    at.publisher.error = NotAcknowledged()
    assert (await at.post({**EVENT, "id": "mine"})).json()["id"] == "mine"


async def test_a_bug_is_a_500_that_says_nothing_of_it(
    at: PublishApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    at.publisher.error = ZeroDivisionError("an inner secret")
    assert "secret" not in await refused(at, EVENT, 500)
    assert all(TOKEN not in record.getMessage() for record in caplog.records)


# -- how fast --------------------------------------------------------------------------------------


async def test_who_publishes_too_fast_is_told_when_to_go_on() -> None:
    async with publish_api(per_second=2) as at:
        assert [(await at.post(EVENT)).status_code for _ in range(3)] == [202, 202, 429]
        answer = await at.post(EVENT)
        check_problem(answer, 429)
        assert answer.headers["retry-after"] == "1"
        at.now_seconds += 0.49
        assert (await at.post(EVENT)).status_code == 429
        at.now_seconds += 0.02
        assert [(await at.post(EVENT)).status_code for _ in range(2)] == [202, 429]
        at.now_seconds += 1000
        assert [(await at.post(EVENT)).status_code for _ in range(3)] == [202, 202, 429]


async def test_where_nothing_may_be_published_that_is_told() -> None:
    async with publish_api(per_second=0) as at:
        answer = await at.post(EVENT)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


# -- what is accepted is never dead ----------------------------------------------------------------

texts = st.none() | st.text(max_size=5)
names = st.none() | st.lists(st.text(max_size=4) | st.just("a"), max_size=2)
times = st.sampled_from([None, "2026-11-21T09:00:00Z", "2026-11-21T24:00:00Z", "soon"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
events = st.fixed_dictionaries(
    {"topic": st.just("orders")},
    optional={
        "id": texts,
        "type": texts,
        "tag": texts,
        "key": texts,
        "time": times,
        "accounts": names,
        "rooms": names,
        "connections": names,
        "all": st.none() | st.booleans(),
        "data": anything,
        "meta": anything,
    },
)


@given(events)
def test_what_is_accepted_is_the_event_that_was_posted(posted: dict[str, Any]) -> None:
    try:
        value = encode_envelope(parse_publication(json.dumps(posted).encode()))
    except InvalidField:
        return
    event = decode_record(ConsumerRecord(0, TIMESTAMP, None, value, ()), 1 << 24)
    assert event is not None, "what names nobody is not accepted"
    assert json.loads(event.data) == posted.get("data")
    assert list(event.accounts) == (posted.get("accounts") or [])
    assert list(event.rooms) == (posted.get("rooms") or [])
    assert list(event.connections) == (posted.get("connections") or [])
    assert event.all is bool(posted.get("all"))
    assert event.tag == posted.get("tag")
    assert event.id == (posted["id"] if posted.get("id") is not None else event.id)
