"""Paths into JSON: what they may look like, and what they find."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.core.protocol.event import InvalidRecord
from bridge.core.routes.path import (
    ABSENT,
    ALL,
    NumberText,
    encode_json,
    find,
    open_json,
    parse_path,
    to_python,
)

ORDER = b"""{"id": 1.50, "customer": {"id": "c-7", "a.b": true, "tags": []},
 "items": [{"sku": "x"}, {}, {"sku": null}], "boxes": [{"items": [1, 2]}, {"items": [3]}],
 "big": 123456789012345678901234567890, "zero": -0}"""


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b-c.$d", ("a", "b-c", "$d")),
        ("a[2].b", ("a", 2, "b")),
        ("a[]", ("a", ALL)),
        ("[0].a", (0, "a")),
        ("a.[0]", ("a", 0)),
        ('"a.b".c', ("a.b", "c")),
        (r'"a\"}\u00e9"', ('a"}é',)),
        ("0", ("0",)),
    ],
)
def test_a_path_has_names_numbers_and_brackets(text: str, path: tuple[object, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a dot without a name"),
        ("a.", "a dot without a name"),
        ("a..b", "a dot without a name"),
        (".a", "a dot without a name"),
        ("a[-1]", "counts from the end"),
        ("a[b]", "brackets"),
        ("a[", "brackets"),
        ("a b", "double quotes"),
        ("a]", "double quotes"),
        ('"a', "does not end"),
        ('a"b"', "no dot before it"),
        (r'"\q"', "no JSON string"),
    ],
)
def test_an_impossible_path_is_refused_with_a_remedy(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_path(text)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("customer.id", "c-7"),
        ('customer."a.b"', True),
        ("id", NumberText("1.50")),
        ("zero", NumberText("-0")),
        ("big", NumberText("123456789012345678901234567890")),
        ("items[0].sku", "x"),
        ("items[2].sku", None),
        ("items[3]", ABSENT),
        ("items[1].sku", ABSENT),
        ("id.x", ABSENT),
        ("customer.id.x", ABSENT),
        ("customer[0]", ABSENT),
        ("items.sku", ABSENT),
        ("customer[]", ABSENT),
        ("nobody", ABSENT),
    ],
)
def test_a_path_finds_one_value(path: str, found: object) -> None:
    for value in (msgspec.Raw(ORDER), as_mixed(ORDER)):
        assert open_json(find(value, parse_path(path))) == found


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("items[].sku", ["x", None]),
        ("boxes[].items", [[1, 2], [3]]),
        ("boxes[].items[]", [1, 2, 3]),
        ("customer.tags[]", []),
        ("items[].sku.none", []),
    ],
)
def test_brackets_take_all(path: str, found: object) -> None:
    for value in (msgspec.Raw(ORDER), as_mixed(ORDER), msgspec.json.decode(ORDER)):
        assert to_python(find(value, parse_path(path))) == found


def as_mixed(text: bytes) -> Any:
    """As a format may open a value: objects whose parts are text still."""
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


def test_half_a_surrogate_pair_is_no_text() -> None:
    with pytest.raises(InvalidRecord):
        open_json(msgspec.Raw(rb'"\ud800"'))


def test_numbers_keep_their_digits_in_json() -> None:
    value = {"a": NumberText("1.50"), "b": [msgspec.Raw(b"1e5")], "c": 2**70}
    assert encode_json(value) == b'{"a":1.50,"b":[1e5],"c":1180591620717411303424}'
