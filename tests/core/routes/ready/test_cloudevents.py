"""The ready route `cloudevents`: both modes, the audience, and what is no CloudEvent."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from bridge.core.protocol.event import Body, Event
from tests.core.routes.templates.routing import KafkaRecord, apply

ATTRIBUTES = {
    "specversion": "1.0",
    "id": "17",
    "source": "/shop",
    "type": "order.shipped",
    "time": "2026-11-21T09:00:00Z",
    "subject": "order-42",
    "accounts": "alice, bob",
    "rooms": "order%3A42",
}
STRUCTURED_TYPE = "application/cloudevents+json; charset=UTF-8"
BYTES = b"\xff\x00"


def structured(content_type: str | None = STRUCTURED_TYPE, **changes: Any) -> KafkaRecord:
    """A record in structured mode; a change to the empty text takes an attribute away."""
    event = {k: v for k, v in {**ATTRIBUTES, "data": {"order": 42}, **changes}.items() if v != ""}
    headers = () if content_type is None else (("content-type", content_type.encode()),)
    return KafkaRecord(None, json.dumps(event).encode(), headers)


def binary(
    value: bytes | None = b'{"order": 42}',
    content_type: str | None = "application/json",
    **changes: str,
) -> KafkaRecord:
    """The same in binary mode."""
    headers = [(f"ce_{k}", v.encode()) for k, v in {**ATTRIBUTES, **changes}.items() if v]
    if content_type is not None:
        headers.append(("content-type", content_type.encode()))
    return KafkaRecord(None, value, tuple(headers))


@pytest.mark.parametrize(
    "record", [structured(), structured(None), binary(), binary(content_type=None)]
)
def test_both_modes_give_the_same_event(record: KafkaRecord) -> None:
    event = apply("cloudevents", record)
    assert isinstance(event, Event)
    assert (event.type, event.id) == ("order.shipped", "17")
    assert event.time is not None
    assert event.time.startswith("2026-11-21T09:00:00")
    assert (event.accounts, event.rooms, event.all) == (["alice", "bob"], ["order:42"], False)
    assert event.meta is not None
    assert json.loads(bytes(event.meta)) == {"source": "/shop", "subject": "order-42"}
    assert event.body is Body.JSON
    assert json.loads(event.data) == {"order": 42}


@pytest.mark.parametrize(
    ("value", "content_type", "data"),
    [
        (b"hello", "text/plain", "hello"),
        (b"[1]", "application/vnd.shop+json", [1]),
        (b"", "application/json", None),
    ],
)
def test_data_by_its_content_type(value: bytes, content_type: str, data: Any) -> None:
    event = apply("cloudevents", binary(value, content_type))
    assert event.body is Body.JSON
    assert json.loads(event.data) == data


@pytest.mark.parametrize(
    "record",
    [
        binary(BYTES, "image/png"),
        binary(BYTES, "text/plain"),
        binary(BYTES, None),
        structured(data="", data_base64=b64encode(BYTES).decode()),
    ],
)
def test_data_that_is_no_text(record: KafkaRecord) -> None:
    event = apply("cloudevents", record)
    assert (event.body, event.data) == (Body.BASE64, b64encode(BYTES))


@pytest.mark.parametrize("value", [True, "true"])
def test_for_everybody(value: Any) -> None:
    assert apply("cloudevents", structured(all=value)).all is True
    assert apply("cloudevents", binary(all="true")).all is True


def test_without_an_audience_it_reaches_nobody() -> None:
    assert apply("cloudevents", binary(accounts="", rooms="")) is None
    assert apply("cloudevents", structured(accounts="", rooms="", all=False)) is None


def test_a_field_beside_it_replaces_what_it_gives() -> None:
    route = {"use": "cloudevents", "type": "x", "data": "{value.source}", "meta": {"k": "{key}"}}
    for record in (structured(), binary()):
        event = apply(route, record._replace(key=b"k1"))
        assert (event.type, event.data, event.id) == ("x", b'"/shop"', "17")
        assert event.accounts == ["alice", "bob"]
        assert json.loads(bytes(event.meta)) == {"k": "k1"}


def test_one_audience_field_replaces_all_four() -> None:
    route = {"use": "cloudevents", "rooms": "subject:{value.subject}"}
    for record in (structured(all=True), binary(all="true")):
        event = apply(route, record)
        addressed = list(event.rooms), list(event.accounts), event.all
        assert addressed == (["subject:order-42"], [], False)


def test_when_sees_the_structured_form() -> None:
    route = {"use": "cloudevents", "when": {"value.type": "order.paid"}}
    assert apply(route, structured()) == apply(route, binary()) == "filtered"
    assert isinstance(apply(route, binary(type="order.paid")), Event)


def test_audience_headers_win() -> None:
    record = binary()
    event = apply("cloudevents", record._replace(headers=(*record.headers, ("push-all", b"true"))))
    assert (event.all, list(event.accounts), event.type) == (True, [], "event")


@pytest.mark.parametrize("audience", [{}, {"accounts": "{value.subject}"}])
def test_a_record_without_a_value_is_a_deletion(audience: dict[str, str]) -> None:
    """Tombstones are not asked for `when`."""
    route = {"use": "cloudevents", "when": {"value.type": "order.paid"}, **audience}
    event = apply(route, binary(None, None))
    assert (event.body, event.data) == (Body.DELETED, b"")
    assert event.accounts == (["order-42"] if audience else ["alice", "bob"])
    assert apply("cloudevents", KafkaRecord(b"k")) is None


NO_CLOUD_EVENTS = {
    "batch": structured("application/cloudevents-batch+json"),
    "another event format": structured("application/cloudevents+avro"),
    "another content type": structured("application/json"),
    "no specversion": structured(None, specversion=""),
    "another version": structured(specversion="0.3"),
    "no id": structured(id=""),
    "no source": structured(source=""),
    "a number as type": structured(type=7),
    "all is text": structured(all="yes"),
    "accounts is a list": structured(accounts=["alice"]),
    "half an escape": structured(accounts="%zz"),
    "no name": structured(rooms="a*"),
    "no base64": structured(data="", data_base64="!"),
    "a list": KafkaRecord(None, b"[]"),
    "half a JSON": KafkaRecord(None, b"{"),
    "not UTF-8": KafkaRecord(None, BYTES),
    "no value": structured(),
    "binary without id": binary(id=""),
    "data that is not what its type says": binary(b"{", "application/json"),
    "an attribute that is not UTF-8": KafkaRecord(
        None, b"1", (("ce_specversion", b"1.0"), ("ce_id", b"\xff"))
    ),
}


@pytest.mark.parametrize("kind", NO_CLOUD_EVENTS)
def test_what_is_no_cloud_event_is_dead(kind: str) -> None:
    record = NO_CLOUD_EVENTS[kind]
    if kind == "no value":
        record = record._replace(value=None, headers=(*record.headers, ("ce_specversion", b"1.0")))
    assert apply("cloudevents", record) == "bad_value"


def test_an_attribute_cannot_pose_as_data() -> None:
    event = apply("cloudevents", binary(b"", None, data="x", data_base64="eA=="))
    assert (event.body, event.data) == (Body.JSON, b"null")
