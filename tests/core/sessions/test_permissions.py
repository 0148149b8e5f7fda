"""Contract 5.2, "JWT claims": what the holder may use, as names or patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sessions.permissions import NamePatterns, Permissions, unrestricted


def test_a_name_covers_itself_and_nothing_else() -> None:
    pattern = NamePatterns(["order:42"])
    assert pattern.matches("order:42")
    assert not pattern.matches("order:421")
    assert not pattern.matches("order")


def test_a_star_stands_for_one_part() -> None:
    pattern = NamePatterns(["order:*:notes"])
    assert pattern.matches("order:42:notes")
    assert not pattern.matches("order:notes")
    assert not pattern.matches("order:42:7:notes")
    assert not pattern.matches("order::notes")


def test_a_final_double_star_stands_for_one_part_or_more() -> None:
    pattern = NamePatterns(["order:**"])
    assert pattern.matches("order:42")
    assert pattern.matches("order:42:notes:7")
    assert not pattern.matches("order")
    assert not pattern.matches("order:")


@pytest.mark.parametrize("pattern", ["**:notes", "order:4*", "order:***"])
def test_a_star_elsewhere_is_no_pattern(pattern: str) -> None:
    assert not NamePatterns([pattern]).matches("order:notes")
    assert not NamePatterns([pattern]).matches("order:42")


def test_what_a_regular_expression_would_read_stands_for_itself() -> None:
    assert not NamePatterns(["a.c:*"]).matches("abc:1")
    assert NamePatterns(["a|b:*"]).matches("a|b:1")
    assert not NamePatterns(["a|b:*"]).matches("a")
    assert not NamePatterns(["(a:*"]).matches("a:1")


def test_each_of_several_patterns_covers_the_whole_name() -> None:
    pattern = NamePatterns(["a:*", "b:*", "c"])
    assert all(pattern.matches(name) for name in ("a:1", "b:1", "c"))
    assert not any(pattern.matches(name) for name in ("a:1:2", "x:b:1", "cc"))


def test_no_pattern_covers_nothing() -> None:
    assert not NamePatterns([]).matches("a")


def fits(pattern: list[str], name: list[str]) -> bool:
    if pattern == ["**"]:
        return bool(name)
    if not pattern or not name:
        return pattern == name
    return pattern[0] in {"*", name[0]} and fits(pattern[1:], name[1:])


parts = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4)
starred = st.lists(st.sampled_from(["a", "b", "*"]), min_size=1, max_size=4)


@given(st.lists(st.builds(lambda p, t: p + t, starred, st.sampled_from([[], ["**"]]))), parts)
def test_a_name_is_covered_if_it_fits_part_by_part(
    patterns: list[list[str]], name: list[str]
) -> None:
    covered = NamePatterns(":".join(each) for each in patterns).matches(":".join(name))
    assert covered == any(fits(pattern, name) for pattern in patterns)


# -- a grant ---------------------------------------------------------------------------------------


def test_without_bounds_every_topic_that_is_not_private_may_be_read() -> None:
    grant = Permissions("ann")
    assert grant.may_read("orders", is_private=False)
    assert not grant.may_read("audit", is_private=True)


def test_bounds_hold_for_topics_and_rooms_apart() -> None:
    grant = Permissions("ann", topics=NamePatterns(["orders"]), rooms=NamePatterns(["r:*"]))
    assert grant.may_read("orders", is_private=False)
    assert not grant.may_read("news", is_private=False)
    assert grant.may_join("r:1")
    assert not grant.may_join("orders")


def test_a_pattern_does_not_name_a_private_topic() -> None:
    assert not Permissions("ann", topics=NamePatterns(["*", "**"])).may_read(
        "audit", is_private=True
    )
    assert Permissions("ann", topics=NamePatterns(["*", "audit"])).may_read(
        "audit", is_private=True
    )


def test_bounds_of_nothing_allow_nothing() -> None:
    grant = Permissions("ann", topics=NamePatterns([]), rooms=NamePatterns([]))
    assert not grant.may_read("orders", is_private=False)
    assert not grant.may_join("r")


@pytest.mark.parametrize("account", ["ann", None])
def test_with_authentication_off_every_room_is_open_and_a_private_topic_too(
    account: str | None,
) -> None:
    grant = unrestricted(account)
    assert grant.account == account
    assert grant.may_join("r")
    assert grant.may_read("orders", is_private=False)
    assert grant.may_read("audit", is_private=True)
    assert grant.expires_at is None
