"""Contract 3.1: event types to be sent, `*` at the end allowed; a plain prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.event import TypeFilter


def test_a_type_without_a_star_admits_itself_only() -> None:
    types = TypeFilter(["order"])
    assert types.matches("order")
    assert not types.matches("orders")
    assert not types.matches("order.shipped")
    assert not types.matches("Order")


def test_a_star_at_the_end_makes_a_plain_prefix() -> None:
    types = TypeFilter(["order.*"])
    assert types.matches("order.shipped")
    assert types.matches("order.")
    assert types.matches("order.a.b")
    assert not types.matches("order")
    assert not types.matches("orders")


def test_a_star_alone_admits_everything() -> None:
    assert TypeFilter(["*"]).matches("")
    assert TypeFilter(["*"]).matches("order.shipped")


def test_an_empty_list_means_none() -> None:
    assert not TypeFilter([]).matches("order")
    assert not TypeFilter([]).matches("")


@pytest.mark.parametrize("wrong", ["", "*.shipped", "order.*.late", "**"])
def test_a_star_elsewhere_or_an_empty_type_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not an event type"):
        TypeFilter(["order", wrong])


def test_what_was_wanted_is_kept_once_and_in_order() -> None:
    assert TypeFilter(["b", "a*", "b"]).patterns == ("b", "a*")


words = st.text("ab.", max_size=4)


@given(st.lists(st.builds(str.__add__, words, st.sampled_from(["", "*"])).filter(bool)), words)
def test_a_type_is_admitted_if_one_of_the_wanted_fits(wanted: list[str], type: str) -> None:
    fits = [w == type or (w.endswith("*") and type.startswith(w[:-1])) for w in wanted]
    assert TypeFilter(wanted).matches(type) == any(fits)
