"""`when`, `type`, `id`, `time`, `tag`, `meta` and `data` of a route."""

from __future__ import annotations

import pytest

from bridge.core.protocol.event import Body
from tests.core.routes.templates.routing import KafkaRecord, apply, of

VALUE = {
    "a": "text",
    "n": 1.5,
    "o": {"x": [1, {"y": "z"}]},
    "t": True,
    "e": "",
    "l": [],
    "null": None,
}


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        ("value.a", "text"),
        ("value.a", ["other", "text"]),
        ("value.n", 1.5),
        ("value.t", True),
        ("value.o", {"x": [1.0, {"y": "z"}]}),
        ("value.l", [[]]),
        ("value.absent", None),
        ("value.null", [None, "x"]),
        ("value.o.x[1].y", "z"),
        ("key", "k"),
        ("header.h", "eu"),
        ("topic", "t"),
        ("partition", 3),
    ],
)
def test_when_holds_where_one_is_equal_as_json(place, wanted):
    assert apply({"all": True, "when": {place: wanted}}, of(VALUE, "k", h="eu")) != "filtered"


@pytest.mark.parametrize(
    ("place", "wanted"),
    [
        *(("value.a", "other"), ("value.a", None), ("value.t", 1), ("value.t", "true")),
        *(("value.n", "1.5"), ("value.absent", ""), ("value.o", {}), ("value.e", None)),
        *(("value.l", {}), ("partition", "3")),
    ],
)
def test_what_differs_is_filtered(place, wanted):
    assert apply({"all": True, "when": {place: wanted}}, of(VALUE, "k")) == "filtered"


def test_all_conditions_must_hold_and_numbers_are_numbers():
    both = {"value.a": "text", "value.n": 2}
    assert apply({"all": True, "when": both}, of(VALUE)) == "filtered"
    assert apply({"all": True, "when": {"value": 1}}, KafkaRecord(value=b"1.0")) != "filtered"
    assert apply(
        {"all": True, "when": {"value": 1}}, KafkaRecord(value=b"1e999999999999999999")
    ) == ("filtered")
    assert apply({"all": True, "when": {"value": True}}, KafkaRecord(value=b"1")) == "filtered"


def test_text_fields_have_what_their_templates_give():
    route = {"all": True, "type": "order.{value.a}", "id": "{value.n}", "tag": "{key}"}
    event = apply(route, of(VALUE, "a:b%"))
    assert (event.type, event.id, event.tag) == ("order.text", "1.5", "a:b%")


def test_text_fields_that_find_nothing_have_their_defaults():
    fields = {"type": "x.{value.absent}", "id": "{value.e}", "tag": "{value.null}"}
    event = apply({"all": True, **fields, "time": "{value.absent}", "meta": "{value.e}"}, of(VALUE))
    assert (event.type, event.id, event.tag, event.time) == ("event", None, None, None)
    assert event.meta is None


@pytest.mark.parametrize("field", ["type", "id", "tag", "time"])
@pytest.mark.parametrize("template", ["{value.o}", "{value.l}", "{value.t}", "x{value.o}"])
def test_text_fields_of_other_kinds_make_the_record_dead(field, template):
    assert apply({"all": True, field: template}, of(VALUE)) == f"bad_route:{field}"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-11-21T10:00:00+01:00", "2026-11-21T09:00:00Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_764_580_000_123, "2025-12-01T09:06:40.123Z"),
        ("1764580000123", "2025-12-01T09:06:40.123Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        *((bad, "bad_route:time") for bad in ("today", -1, 1.5, 253_402_300_800_000)),
    ],
)
def test_time_is_rfc_3339_or_a_whole_number_of_milliseconds(given, expected):
    outcome = apply({"all": True, "time": "{value.at}"}, of({"at": given}))
    assert (outcome if isinstance(outcome, str) else outcome.time) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{value.o}", b'{"x": [1, {"y": "z"}]}'),
        ("{value.n}", b"1.5"),
        ("{value.absent}", b"null"),
        ("{value.a} {key}", b'"text k"'),
        ("constant", b'"constant"'),
        (
            {
                "a": "{value.a}",
                "none": "{value.e}",
                "o": {"t": "{value.t}", "one": 1},
                "l": ["{key}"],
            },
            b'{"a":"text","o":{"t":true,"one":1},"l":["k"]}',
        ),
        ({"y": {"jmespath": "value.o.x[1].y"}, "n": {"jmespath": "value.absent"}}, b'{"y":"z"}'),
        ({}, b"{}"),
    ],
)
def test_data_is_made_of_templates(template, expected):
    event = apply({"all": True, "data": template, "meta": {"k": "{key}"}}, of(VALUE, "k"))
    assert (event.body, event.data, event.meta) == (Body.JSON, expected, b'{"k":"k"}')


def test_data_keeps_the_digits_of_numbers():
    value = b'{"n": 1.50, "big": 123456789012345678901234567890}'
    event = apply(
        {"all": True, "data": {"n": "{value.n}", "b": "{value.big}"}}, KafkaRecord(value=value)
    )
    assert event.data == b'{"n":1.50,"b":123456789012345678901234567890}'


def test_data_is_the_whole_value_by_default():
    opened = apply({"rooms": "{value.a}"}, of(VALUE))
    assert (opened.body, opened.data) == (Body.JSON, of(VALUE).value)
    unopened = apply({"rooms": "{key}"}, KafkaRecord(b"k", b"no JSON"))
    assert (unopened.body, unopened.data) == (Body.UNCHECKED, b"no JSON")


def test_data_with_an_object_beside_text_makes_the_record_dead():
    assert apply({"all": True, "data": "x {value.o}"}, of(VALUE)) == "bad_route:data"
    assert apply({"all": True, "meta": {"a": "x {value.l}"}}, of(VALUE)) == "bad_route:meta"


def test_data_that_would_be_too_large_makes_the_record_dead():
    route = {"all": True, "data": {str(n): "{value.a}" for n in range(5)}}
    assert apply(route, of({"a": "x" * 9_000})) == "too_large"
