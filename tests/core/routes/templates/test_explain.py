"""What a route does is what `explain` shows; no producer's data names another's room."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.config.routes import RouteError, parse_route
from bridge.core.protocol.event import InvalidRecord
from bridge.core.routes.decoder import Filtered
from bridge.core.routes.formats import FORMATS, KEY_FORMATS
from bridge.core.routes.templates.explain import RouteExplainer
from bridge.core.routes.templates.render import escape
from tests.core.routes.templates.routing import LIMITS, KafkaRecord, apply, decoder, names
from tests.tiers import example_count

SCALARS = [
    *("null", "true", "false", "0", "-0", "7", "1.50", "1e3", '""', '"x"', '"a:b"', '"%3A"'),
    *(
        '"true"',
        '"\\u0061"',
        '"\\ud800"',
        '"2026-11-21T09:00:00Z"',
        '"\u00e9"',
        '"a,b"',
        "1234567890123",
    ),
]
FIELD_NAMES = ["a", "b", "a.b", "\\u0061", "c"]


def objects(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(st.sampled_from(FIELD_NAMES), children), max_size=4)
    return pairs.map(lambda p: "{" + ", ".join(f'"{name}": {child}' for name, child in p) + "}")


json_texts = st.recursive(
    st.sampled_from(SCALARS),
    lambda children: (
        objects(children)
        | st.lists(children, max_size=3).map(lambda items: f"[{', '.join(items)}]")
    ),
    max_leaves=8,
)
values = st.none() | st.one_of(
    objects(json_texts).map(str.encode),
    json_texts.map(str.encode),
    st.sampled_from([b"", b"{", b'"\xff"']),
)
keys = st.none() | st.sampled_from([b"", b"k", b"a:b", b"\xff", b"7", b'{"a": "x"}'])
headers = st.lists(
    st.tuples(st.sampled_from(["h", "g"]), st.none() | st.sampled_from([b"", b"v", b"%", b"\xff"])),
    max_size=2,
).map(tuple)
records = st.builds(KafkaRecord, keys, values, headers)

PLACES = [
    *("key", "header.h", "value", "value.a", "value.b", "value.a.b", 'value."a.b"', "value.a[0]"),
    *("value.a[]", "value.a[].b", "value.c.a.b", "topic", "partition", "offset", "timestamp"),
]
placeholders = st.sampled_from(PLACES).map(lambda place: f"{{{place}}}")
texts = st.one_of(
    placeholders,
    st.tuples(st.sampled_from(["x:", "{{", "%"]), placeholders).map("".join),
    st.tuples(placeholders, st.just(":"), placeholders).map("".join),
    st.just("constant"),
)
expressions = st.sampled_from(
    ["value.a", "key", "headers.h", "value.a[].b", "sum(value.a)", "@", "`1.5`"]
)
templates = texts | st.fixed_dictionaries(
    {"jmespath": expressions}, optional={"prefix": st.just("p:")}
)
wanted = st.sampled_from([None, True, 0, 7, 1.5, "x", "", ["x", None], [{"a": 1}], {"b": "x"}])
trees = texts | st.dictionaries(
    st.sampled_from(["u", "v"]),
    templates | st.lists(templates | st.just(1), max_size=2),
    max_size=2,
)
definitions = st.fixed_dictionaries(
    {},
    optional={
        "accounts": templates,
        "rooms": templates | st.lists(templates, min_size=1, max_size=3),
        "connections": templates,
        "all": st.just(True) | placeholders,
        "when": st.dictionaries(st.sampled_from(PLACES), wanted, min_size=1, max_size=2),
        **dict.fromkeys(["type", "id", "tag", "time"], templates),
        "meta": trees,
        "data": trees,
    },
)
key_formats = st.sampled_from(["text", "json", "int"])


def outcome(decode: Any) -> Any:
    """What a record becomes: comparable, also of two ways to the same."""
    try:
        event = decode()
    except InvalidRecord as error:
        return "dead", error.reason, None
    except Filtered:
        return "filtered", None, None
    return ("addressed" if event else "unaddressed"), None, event and as_lists(event)


def as_lists(event: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(event))


@settings(max_examples=example_count(2_000))
@given(definitions, records, key_formats)
@example({"rooms": "{value.a}"}, KafkaRecord(value=b'{"a": -0}'), "text")
def test_explain_says_what_the_route_does(definition, record, key_format):
    try:
        route = parse_route(definition, "json", key_format)
    except RouteError:
        return
    formats = FORMATS["json"](LIMITS.event_bytes * 4), KEY_FORMATS[key_format](100)
    explainer = RouteExplainer(route, "t", *formats, LIMITS.event_bytes, LIMITS.audience)
    explained = explainer.explain(record, 3)
    compiled = decoder(definition, key_format=key_format)
    assert outcome(lambda: compiled.decode_record(record, 3)) == (
        explained.verdict,
        explained.reason,
        explained.event and as_lists(explained.event),
    )
    if explained.event and not explained.event.all:
        audience = (*explained.event.accounts, *explained.event.rooms, *explained.event.connections)
        assert set(audience) <= {name for step in explained.steps for name in step.gave}


def test_a_step_says_where_what_was_found_and_what_it_gave():
    route = parse_route(
        {"rooms": "order:{value.id}:{header.h}", "when": {"key": "k"}}, "json", "text"
    )
    explainer = RouteExplainer(route, "t", FORMATS["json"](1), KEY_FORMATS["text"](1), 100, 9)
    explained = explainer.explain(KafkaRecord(b"k", b'{"id": 1.50}', (("h", b"eu"),)), 0)
    assert explained.verdict == "addressed"
    assert [tuple(step) for step in explained.steps] == [
        ("when", "key", {"key": b'"k"'}, [], ("key",)),
        (
            *("rooms", "order:{value.id}:{header.h}"),
            {"value.id": b"1.50", "header.h": b'"eu"'},
            ["order:1.50:eu"],
            ("value.id", "header.h"),
        ),
    ]
    dead = explainer.explain(KafkaRecord(b"k", b'{"id": {}}', (("h", b"eu"),)), 0)
    assert (dead.verdict, dead.reason, dead.steps[-1].gave) == ("dead", "bad_route:rooms", [])


# -- no producer's data names another's room -------------------------------------------------------

#: Half of them have what separates parts, or what escapes it.
anything = st.text(min_size=1, max_size=20) | st.text(":%3A5x", min_size=1, max_size=8)


@given(anything, anything)
def test_a_name_has_as_many_parts_as_its_template(first, second):
    record = KafkaRecord(first.encode("utf-8", "surrogatepass"), json_string(second))
    outcome = names("order:{key}:{value}", record)
    if not isinstance(outcome, list):
        assert outcome in {"bad_name", "bad_key", "bad_json", None}
        return
    (name,) = outcome
    assert name.split(":") == ["order", escape(first), escape(second)]


@given(st.tuples(anything, anything), st.tuples(anything, anything))
def test_other_data_gives_another_name(one, other):
    def room(pair: tuple[str, str]) -> str:
        return f"{escape(pair[0])}:{escape(pair[1])}"

    assert (room(one) == room(other)) == (one == other)


@given(anything)
def test_a_prefix_of_jmespath_is_kept_apart_too(text):
    outcome = names({"jmespath": "value", "prefix": "order:"}, KafkaRecord(None, json_string(text)))
    if isinstance(outcome, list):
        assert outcome == [f"order:{escape(text)}"]
        assert outcome[0].count(":") == 1


def json_string(text: str) -> bytes:
    return b'"' + b"".join(b"\\u%04x" % unit for unit in utf16_units(text)) + b'"'


def utf16_units(text: str) -> list[int]:
    raw = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2)]


def test_deep_json_stops_nothing():
    deep = KafkaRecord(value=b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}")
    for field in ("rooms", "id"):
        assert apply({"all": True, field: "{value.a}"}, deep) == f"bad_route:{field}"
    assert apply({"all": True, "when": {"value.a": 1}}, deep) == "filtered"
