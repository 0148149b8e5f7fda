"""The ready route `debezium`: changes of rows, for whom they are, and nothing more of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bridge.core.protocol.event import Body, Event
from tests.core.routes.templates.routing import KafkaRecord, apply

ALICE = {"id": 7, "owner": "alice", "total": 1.50}
BOB = {"id": 7, "owner": "bob", "total": 2}
SOURCE = {"ts_ms": 1_763_715_600_000, "db": "shop", "schema": "public", "table": "carts", "lsn": 9}
ROUTE = {"use": "debezium", "accounts": "{value.after.owner}"}
SCHEMA = {"type": "struct", "fields": []}


def change(
    op: Any, before: Any = None, after: Any = None, *, with_schema: bool = False, key: Any = None
) -> KafkaRecord:
    envelope = {"op": op, "before": before, "after": after, "source": SOURCE, "ts_ms": 1}
    value = {"schema": SCHEMA, "payload": envelope} if with_schema else envelope
    raw_key = None if key is None else json.dumps(key).encode()
    return KafkaRecord(raw_key, json.dumps(value).encode())


def before_of(event: Event) -> Any:
    return json.loads(event.data)["before"]


@pytest.mark.parametrize("with_schema", [False, True])
@pytest.mark.parametrize(
    ("op", "before", "after", "type"),
    [
        ("c", None, ALICE, "create"),
        ("r", None, ALICE, "read"),
        ("u", ALICE, {**ALICE, "total": 3}, "update"),
        ("d", ALICE, None, "delete"),
    ],
)
def test_a_change_of_a_row(with_schema: bool, op: str, before: Any, after: Any, type: str) -> None:
    event = apply(ROUTE, change(op, before, after, with_schema=with_schema))
    assert isinstance(event, Event)
    assert json.loads(event.data) == {"op": op, "before": before, "after": after}
    assert (event.type, list(event.accounts)) == (type, ["alice"])
    assert event.time == "2025-11-21T09:00:00.000Z"
    assert event.meta is not None
    assert json.loads(bytes(event.meta)) == {"db": "shop", "schema": "public", "table": "carts"}


def test_a_row_that_moves_is_not_shown_as_it_was() -> None:
    event = apply(ROUTE, change("u", ALICE, BOB))
    assert list(event.accounts) == ["bob"]
    assert before_of(event) is None


@pytest.mark.parametrize(
    "route",
    [
        {"use": "debezium", "rooms": ["all", "{value.after.owner}"]},
        {"use": "debezium", "connections": "{value.after.owner}"},
        {"use": "debezium", "rooms": "r", "all": "{value.after.shared}"},
    ],
)
def test_each_part_of_the_audience_must_be_the_same(route: Any) -> None:
    before, after = {**ALICE, "shared": True}, {**BOB, "shared": False}
    assert before_of(apply(route, change("u", before, after))) is None
    assert before_of(apply(route, change("u", after, after))) == after


def test_a_row_that_cannot_be_routed_as_it_was_is_not_shown() -> None:
    broken = {**ALICE, "owner": {"no": "name"}}
    assert before_of(apply(ROUTE, change("u", broken, BOB))) is None


def test_truncation_has_no_row() -> None:
    event = apply({"use": "debezium", "all": True}, change("t"))
    assert event.type == "truncate"
    assert json.loads(event.data) == {"op": "t", "before": None, "after": None}
    assert apply(ROUTE, change("t")) is None


def test_messages_of_the_database_are_filtered() -> None:
    assert apply({"use": "debezium", "all": True}, change("m")) == "filtered"


@pytest.mark.parametrize("op", [None, "x", 7, ["c"]])
def test_without_an_op_it_is_dead(op: Any) -> None:
    assert apply(ROUTE, change(op, None, ALICE)) == "bad_value"


@pytest.mark.parametrize("value", [b"{}", b"[]", b"null", b'"c"', b'{"payload": {"op": "c"}}'])
def test_what_is_no_change_is_dead(value: bytes) -> None:
    assert apply(ROUTE, KafkaRecord(None, value)) == "bad_value"


def test_what_is_no_json_is_dead() -> None:
    assert apply(ROUTE, KafkaRecord(None, b"{")) == "bad_json"


@pytest.mark.parametrize("key", [{"id": 7}, {"schema": SCHEMA, "payload": {"id": 7}}])
def test_a_tombstone_goes_where_its_key_says(key: Any) -> None:
    route = {"use": "debezium", "rooms": ["cart:{key.id}", "{value.after.owner}"]}
    tombstone = change("c", key=key)._replace(value=None)
    event = apply(route, tombstone, key_format="json")
    assert (event.body, list(event.rooms), event.type) == (Body.DELETED, ["cart:7"], "event")
    assert apply(ROUTE, tombstone, key_format="json") == "filtered"


def test_a_field_beside_it_replaces_what_it_gives() -> None:
    route = {**ROUTE, "type": "cart.{value.op}", "data": {"total": "{value.after.total}"}}
    event = apply(route, change("d", ALICE))
    assert (event.type, event.data) == ("cart.d", b'{"total":1.5}')


def test_when_sees_the_envelope() -> None:
    route = {**ROUTE, "when": {"value.source.table": "orders"}}
    assert apply(route, change("c", None, ALICE)) == "filtered"


def test_audience_headers_win() -> None:
    record = change("c", None, ALICE)._replace(headers=(("push-all", b"true"),))
    event = apply(ROUTE, record)
    assert (event.all, list(event.accounts)) == (True, [])
