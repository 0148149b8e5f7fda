"""Contract 3.1: event types to be sent, `*` at the end allowed; a plain prefix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.event import Types


def test_a_type_without_a_star_admits_itself_only() -> None:
    types = Types(["order"])
    assert types.admits("order")
    assert not types.admits("orders")
    assert not types.admits("order.shipped")
    assert not types.admits("Order")


def test_a_star_at_the_end_makes_a_plain_prefix() -> None:
    types = Types(["order.*"])
    assert types.admits("order.shipped")
    assert types.admits("order.")
    assert types.admits("order.a.b")
    assert not types.admits("order")
    assert not types.admits("orders")


def test_a_star_alone_admits_everything() -> None:
    assert Types(["*"]).admits("")
    assert Types(["*"]).admits("order.shipped")


def test_an_empty_list_means_none() -> None:
    assert not Types([]).admits("order")
    assert not Types([]).admits("")


@pytest.mark.parametrize("wrong", ["", "*.shipped", "order.*.late", "**"])
def test_a_star_elsewhere_or_an_empty_type_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not an event type"):
        Types(["order", wrong])


def test_what_was_wanted_is_kept_once_and_in_order() -> None:
    assert Types(["b", "a*", "b"]).wanted == ("b", "a*")


words = st.text("ab.", max_size=4)


@given(st.lists(st.builds(str.__add__, words, st.sampled_from(["", "*"])).filter(bool)), words)
def test_a_type_is_admitted_if_one_of_the_wanted_fits(wanted: list[str], type: str) -> None:
    fits = [w == type or (w.endswith("*") and type.startswith(w[:-1])) for w in wanted]
    assert Types(wanted).admits(type) == any(fits)
