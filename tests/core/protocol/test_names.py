"""Contract, "Words": what topics, accounts and rooms may be called."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.names import is_valid_name, is_valid_topic, nearest_names


@pytest.mark.parametrize("name", ["a", "order:42", "a b", "é", "日本", "%", ".", ".."])
def test_a_name_is_any_text_that_can_stand_in_a_list(name: str) -> None:
    assert is_valid_name(name)


@pytest.mark.parametrize("name", ["", ",", "a,b", "*", "order:*"])
def test_a_name_is_not_empty_and_has_neither_comma_nor_star(name: str) -> None:
    assert not is_valid_name(name)


#: Line separators, and what changes the direction of writing: each could forge a line of a log.
SEPARATORS_AND_DIRECTIONS = {0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}


@pytest.mark.parametrize(
    "code", [*range(0x20), *range(0x7F, 0xA0), *sorted(SEPARATORS_AND_DIRECTIONS)]
)
def test_a_name_has_no_control_character(code: int) -> None:
    assert not is_valid_name(f"a{chr(code)}")


def test_a_name_is_what_utf_8_can_write() -> None:
    assert not is_valid_name("a\ud800")


@pytest.mark.parametrize("character", ["a", "é", "日", "😀"])
def test_a_name_has_at_most_200_bytes_not_characters(character: str) -> None:
    most = 200 // len(character.encode())
    assert is_valid_name(character * most)
    assert not is_valid_name(character * (most + 1))


#: Unicode's own classes of explicit directions.
DIRECTIONS = {"LRE", "LRO", "RLE", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text(max_size=210) | st.text(st.characters(min_codepoint=0x80), min_size=45, max_size=70))
def test_a_name_is_exactly_what_the_contract_says(text: str) -> None:
    characters = all(
        unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"}
        and unicodedata.bidirectional(c) not in DIRECTIONS
        and ord(c) not in SEPARATORS_AND_DIRECTIONS
        and c not in ",*"
        for c in text
    )
    assert is_valid_name(text) == (characters and 1 <= len(text.encode()) <= 200)


@pytest.mark.parametrize("topic", ["orders", "shop.orders.v1", "A-b_c.9", "...", "x" * 200])
def test_a_topic_is_named_by_kafkas_own_rule(topic: str) -> None:
    assert is_valid_topic(topic)


@pytest.mark.parametrize(
    "topic", ["", ".", "..", "a:b", "a b", "é", "a,b", "a*", "a\n", "٣", "x" * 201]
)
def test_a_topic_has_no_colon_and_nothing_that_kafka_refuses(topic: str) -> None:
    assert not is_valid_topic(topic)


@given(st.text(max_size=5))
def test_whatever_names_a_topic_is_a_name(text: str) -> None:
    assert is_valid_name(text) or not is_valid_topic(text)


@pytest.mark.parametrize(
    "mistyped", ["ordres", "order", "Orders", "orderss", "oders", "sorders", "ORDERS", "orders_"]
)
def test_a_mistyped_name_is_nearest_to_the_one_that_was_meant(mistyped: str) -> None:
    names = ["news", "borders.closed", "orders", "ratings", "reorder"]
    assert nearest_names(mistyped, names, 3)[0] == "orders"


def test_the_nearest_names_are_few_and_in_one_order() -> None:
    names = [f"t{number}" for number in range(100)]
    assert nearest_names("x", names, 10) == nearest_names("x", reversed(names), 10)
    assert len(nearest_names("x", names, 10)) == 10
    assert nearest_names("", ["b", "a"], 10) == ["a", "b"]
    assert nearest_names("x", [], 10) == []
