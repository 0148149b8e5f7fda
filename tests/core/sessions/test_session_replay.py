"""What a session in the middle of a replay has cost, and how far its pass has come."""

from __future__ import annotations

import pytest

from bridge.core.sessions.session import Reach, Replay


def test_what_was_read_for_it_are_its_topics_since_it_entered() -> None:
    it, reach = Replay({}, {}), Reach({})
    reach.bytes.update(orders=5, news=7)
    it.enter(reach)
    assert it.cost(["orders", "news"]) == 0
    reach.bytes.update(orders=10, news=20, audit=40)
    assert it.cost(["orders", "audit"]) == 50
    it.leave(["orders"])
    assert (it.bytes, it.reach) == (10, None)
    reach.bytes.update(orders=1)
    assert it.cost(["orders"]) == 10
    it.enter(reach)
    reach.bytes.update(orders=2)
    assert it.cost(["orders"]) == 12


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        (None, {("news", 0)}),
        ({0: 5}, {("news", 0), ("orders", 0), ("orders", 1)}),
        ({0: 4}, {("news", 0), ("orders", 1)}),
        ({1: 4}, {("news", 0), ("orders", 0)}),
        ({0: 0, 1: 0}, {("news", 0)}),
    ],
)
def test_a_pass_leaves_out_what_is_gone(
    ends: dict[int, int] | None, left: set[tuple[str, int]]
) -> None:
    reach = Reach({("orders", 0): 5, ("orders", 1): 5, ("news", 0): 5})
    reach.leave_out("orders", ends)
    assert set(reach.next) == left
