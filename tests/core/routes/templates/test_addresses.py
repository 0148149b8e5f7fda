"""Whom a route's templates name: contract-2, section 1, Templates."""

from __future__ import annotations

import pytest

from tests.core.routes.templates.routing import KafkaRecord, apply, names, of

VALUE = {
    "kind": "order",
    "customer": {"id": "c-1", "n": 17, "a.b": "dotted", "vip": True},
    "tags": ["red", "", None, "blue", 3],
    "lines": [{"sku": "A"}, {"sku": "B"}, {}],
    "empty": "",
    "null": None,
    "percent": "5:%",
    "nested": [["x"]],
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{value.customer.id}", ["c-1"]),
        ("{value.customer.n}", ["17"]),
        ("order:{value.customer.n}", ["order:17"]),
        ('{value.customer."a.b"}', ["dotted"]),
        ("{value.tags}", ["red", "blue", "3"]),
        ("tag:{value.tags}!", ["tag:red!", "tag:blue!", "tag:3!"]),
        ("{value.lines[].sku}", ["A", "B"]),
        ("sku:{value.lines[1].sku}:{key}", ["sku:B:k"]),
        ("{key}:{value.tags}", ["k:red", "k:blue", "k:3"]),
        ("{header.region}", ["eu"]),
        ("{header.a b.c-d}", ["odd"]),
        ("{topic}:{partition}:{offset}:{timestamp}", ["t:3:7:1700000000000"]),
        ("constant", ["constant"]),
        ("{{{key}}}", ["{k}"]),
        ("x:{value.percent}", ["x:5%3A%25"]),
        ("{value.percent}", ["5:%"]),
        (["a:{key}", "{value.kind}"], ["a:k", "order"]),
        ({"jmespath": "value.lines[?sku == 'A'].sku"}, ["A"]),
        ({"jmespath": "value.percent", "prefix": "p:"}, ["p:5%3A%25"]),
        ({"jmespath": "headers.region"}, ["eu"]),
        ({"jmespath": "[value.percent, key]", "prefix": "p:"}, ["p:5%3A%25", "p:k"]),
        ("{value.percent}:{key}", ["5%3A%25:k"]),
        ({"jmespath": "[key, value.kind]", "prefix": "x:"}, ["x:k", "x:order"]),
        ({"jmespath": "length(value.lines)"}, ["3"]),
    ],
)
def test_a_template_names_what_its_placeholders_find(template, expected):
    headers = (("region", b"us"), ("region", b"eu"), ("a b.c-d", b"odd"))
    assert names(template, of(VALUE, "k")._replace(headers=headers)) == expected


@pytest.mark.parametrize(
    "template",
    [
        *("{value.absent}", "{value.empty}", "{value.null}", "x:{value.absent}", "x:{value.empty}"),
        *(
            "{value.customer.id.deeper}",
            "{value.lines[9].sku}",
            "{value.kind[]}",
            "{header.absent}",
        ),
        *("{key}:{value.null}", "{value.tags.x}", "{value.lines[].absent}"),
        {"jmespath": "value.absent"},
        {"jmespath": "value.null", "prefix": "x:"},
    ],
)
def test_what_finds_nothing_names_nobody(template):
    assert names(template, of(VALUE, "k")) is None


@pytest.mark.parametrize(
    "template",
    [
        *("{value.customer}", "{value.customer.vip}", "x:{value.customer}", "{value.nested}"),
        *("{value.lines}", "{value.tags}:{value.tags}", "{value}"),
        {"jmespath": "value.customer"},
        {"jmespath": "value.customer", "prefix": "x:"},
        {"jmespath": "sum(value.tags)"},
        {"jmespath": "to_array(&key)"},
    ],
)
def test_what_is_no_text_number_or_list_of_these_makes_the_record_dead(template):
    assert names(template, of(VALUE, "k")) == "bad_route:rooms"


def test_two_fields_are_two_lists_of_names():
    event = apply(
        {"accounts": "{key}", "rooms": ["r"], "connections": "{header.c}"}, of({}, "alice", c="x")
    )
    assert (event.accounts, event.rooms, event.connections) == (["alice"], ["r"], ["x"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.50", "1.50"),
        ("-0", "-0"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"\\u0041"', "A"),
    ],
)
def test_a_number_is_written_as_it_stands(value, text):
    record = KafkaRecord(value=b'{"n": %s}' % value.encode())
    assert names("n:{value.n}", record) == [f"n:{text}"]
    assert names("{value.n}", record) == [text]


def test_a_name_that_breaks_the_rule_for_names_makes_the_record_dead():
    assert names("{value}", of("a,b")) == "bad_name"
    assert names("{value}", of("x" * 201)) == "bad_name"
    assert names("{value}", of(["x"] * 51)) == "too_many"


@pytest.mark.parametrize(
    ("given", "expected"),
    [(True, True), (False, None), ("true", True), ("false", None), (None, None), ("", None)],
)
def test_all_is_true_or_a_template_that_gives_true_or_false(given, expected):
    event = apply({"all": "{value.public}"}, of({"public": given}))
    assert (event and event.all) == expected
    assert apply({"all": True}, of({})).all


@pytest.mark.parametrize("given", [1, "yes", [], {}])
def test_all_that_is_neither_true_nor_false_makes_the_record_dead(given):
    assert apply({"all": "{value.public}"}, of({"public": given})) == "bad_route:all"


# -- keys and formats ------------------------------------------------------------------------------


def test_the_key_is_opened_by_its_format_only_where_a_template_needs_it():
    record = KafkaRecord(b"\xff", b"{}")
    assert names("r", record) == ["r"]
    assert names("{key}", record) == "bad_key"
    assert names("{key}", record, key_format="int") == ["-1"]
    assert names("{key.id}", KafkaRecord(b'{"id": 5}', b"{}"), key_format="json") == ["5"]
    assert names("{key.id}", KafkaRecord(b"{", b"{}"), key_format="json") == "bad_key"
    assert names("{key}", KafkaRecord(None, b"{}")) is None


def test_a_value_is_opened_only_where_a_template_needs_it():
    assert names("{key}", KafkaRecord(b"k", b"no JSON")) == ["k"]
    assert names("{value.a}", KafkaRecord(b"k", b"no JSON")) == "bad_json"
    assert names("{value.a}", KafkaRecord(b"k", b'{"b": "\xff"}')) == "bad_json"
    assert names("{value.a}", KafkaRecord(b"k", b'"text"')) is None
    assert names("{value[1].id}", KafkaRecord(b"k", b'[1, {"id": "x"}]')) == ["x"]


def test_a_header_that_is_no_text_makes_the_record_dead():
    record = KafkaRecord(None, b"{}", (("h", b"\xff"),))
    assert names("{header.h}", record) == "bad_header"
    assert names("r", record) == ["r"]
    assert names({"jmespath": "headers.h"}, record) is None


def test_text_is_one_string():
    assert names("{value}", KafkaRecord(None, b"alice"), format="text") == ["alice"]
    assert names("{key}", KafkaRecord(b"bob", b"\xff"), format="bytes") == ["bob"]


# -- who wins, tombstones --------------------------------------------------------------------------


def test_audience_headers_win_over_the_route_and_over_when():
    route = {"rooms": "{value.r}", "when": {"value.kind": "order"}}
    record = of({"kind": "other", "r": "theirs"})._replace(headers=(("push-rooms", b"mine"),))
    assert names(route, record) == ["mine"]
    assert names(route, record._replace(headers=(("push-rooms", None),))) == "filtered"


def test_a_trace_context_is_kept():
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert apply({"rooms": "r"}, of({}, traceparent=parent)).traceparent == parent


def test_a_tombstone_is_deleted_for_whom_its_route_names_without_the_value():
    tombstone = KafkaRecord(b"k", None)
    route = {"rooms": ["{key}", "x:{value.a}"], "type": "{value.b}", "data": "{value.c}"}
    event = apply({**route, "when": {"value.kind": "order"}}, tombstone)
    assert (event.rooms, event.body.name, event.data) == (["k"], "DELETED", b"")
    assert apply({"rooms": "x:{value.a}"}, tombstone) is None
    assert apply({"all": True}, tombstone).all
