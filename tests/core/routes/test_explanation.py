"""What becomes of a record, and why: native, by headers, by routes and by ready routes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, reject
from pydantic import ValidationError

from bridge.app.decoders import build_explainer
from bridge.config.topics import TopicDefinition
from tests.core.routes.templates.routing import LIMITS, KafkaRecord, of
from tests.core.routes.templates.test_explain import definitions, key_formats, records

if TYPE_CHECKING:
    from bridge.core.routes.explanation import Explained

CART = {"op": "u", "before": None, "after": {"owner": "bob"}, "source": {"db": "shop"}}
CLOUD_EVENT = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "accounts": "alice"}


def explain(record: KafkaRecord, **topic: Any) -> Explained:
    definition = TopicDefinition(name="orders", **topic)
    return build_explainer(definition, LIMITS).explain(record, 3, "orders:3:7")


def steps(explained: Explained) -> list[tuple[str, str | None, str, Any, list[str]]]:
    return [
        (
            s.field,
            s.template,
            s.found_in,
            None if s.found is None else json.loads(bytes(s.found)),
            s.gave,
        )
        for s in explained.steps
    ]


def test_a_native_envelope() -> None:
    explained = explain(of({"accounts": ["alice"], "rooms": ["r"], "data": 1}))
    assert (explained.verdict, explained.reason) == ("addressed", None)
    assert explained.sentence == "It is for account alice, room r."
    assert list(explained.audience.addresses()) == ["account:alice", "room:r"]
    assert explained.event is not None
    frame = json.loads(bytes(explained.event))
    assert (frame["op"], frame["at"], frame["data"]) == ("event", "orders:3:7", 1)
    assert "to" not in frame
    assert steps(explained) == [
        ("connections", None, "value.connections", None, []),
        ("accounts", None, "value.accounts", ["alice"], ["alice"]),
        ("rooms", None, "value.rooms", ["r"], ["r"]),
        ("all", None, "value.all", None, []),
    ]


def test_headers_win() -> None:
    record = of({"accounts": ["eve"]}, **{"push-accounts": "alice, bob"})
    explained = explain(record, route={"rooms": "{key}"})
    assert explained.audience.accounts == ["alice", "bob"]
    assert steps(explained) == [
        ("accounts", None, "header.push-accounts", "alice, bob", ["alice", "bob"])
    ]


def test_a_route() -> None:
    route = {"rooms": ["order:{key}", "{value.a}:{value.b}"], "when": {"value.kind": "x"}}
    explained = explain(of({"kind": "x", "a": 1}, key="k1"), route=route)
    assert list(explained.audience.addresses()) == ["room:order:k1"]
    assert steps(explained) == [
        ("when", "value.kind", "value.kind", "x", []),
        ("rooms", "order:{key}", "key", "k1", ["order:k1"]),
        ("rooms", "{value.a}:{value.b}", "value.a,value.b", 1, []),
    ]


@pytest.mark.parametrize(
    ("record", "topic", "verdict", "reason", "sentence"),
    [
        (of({"account": "alice"}), {}, "unaddressed", "no_audience", "It names nobody"),
        (KafkaRecord(), {}, "unaddressed", "tombstone", "It has no value"),
        (
            of({"kind": "y"}),
            {"route": {"all": True, "when": {"value.kind": "x"}}},
            "filtered",
            "when",
            "The route's `when`",
        ),
        (KafkaRecord(value=b"{"), {}, "dead", "bad_json", "It is dead, bad_json: "),
        (of({"room": {}}), {"route": {"rooms": "{value.room}"}}, "dead", "bad_route:rooms", ""),
        (of({}), {"route": "debezium", "format": "json"}, "dead", "bad_value", ""),
    ],
)
def test_who_is_not_addressed_learns_why(
    record: KafkaRecord, topic: Any, verdict: str, reason: str, sentence: str
) -> None:
    if topic.get("route") == "debezium":
        topic = {"route": {"use": "debezium", "all": True}}
    explained = explain(record, **topic)
    assert (explained.verdict, explained.reason) == (verdict, reason)
    assert explained.sentence.startswith(sentence)
    assert (explained.event, list(explained.audience.addresses())) == (None, [])


def test_ready_routes_see_what_their_templates_see() -> None:
    debezium = {"use": "debezium", "accounts": "{value.after.owner}"}
    deleted = {**CART, "op": "d", "before": CART["after"], "after": None}
    for change in (CART, deleted, {"schema": {}, "payload": deleted}):
        explained = explain(of(change), route=debezium)
        assert list(explained.audience.addresses()) == ["account:bob"]
        first = steps(explained)[0]
        assert first == ("accounts", "{value.after.owner}", "value.after.owner", "bob", ["bob"])
    explained = explain(of(CLOUD_EVENT), route="cloudevents")
    assert list(explained.audience.addresses()) == ["account:alice"]
    assert ("accounts", None, "value.accounts", "alice", ["alice"]) in steps(explained)


def test_the_answer_is_json() -> None:
    answer = msgspec.json.decode(msgspec.json.encode(explain(of({"all": True}))))
    assert answer.keys() == {
        *("topic", "at", "verdict", "reason", "sentence", "audience", "event", "steps"),
        "connected",
    }
    assert answer["steps"][0].keys() == {"field", "template", "from", "found", "gave"}


@given(definitions, records, key_formats)
def test_it_is_what_happens(definition: Any, record: KafkaRecord, key_format: str) -> None:
    """Over random routes and records, the answer is that of the decoder, and nothing raises."""
    try:
        explained = explain(record, route=definition, key_format=key_format)
    except ValidationError:
        reject()
    assert explained.verdict in {"addressed", "unaddressed", "filtered", "dead"}
    assert (explained.event is not None) == (explained.verdict == "addressed")
    assert any(explained.audience.addresses()) == (explained.verdict == "addressed")
