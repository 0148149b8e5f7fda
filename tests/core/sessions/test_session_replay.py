"""What a session in the middle of a replay has cost, and how far its pass has come."""

from __future__ import annotations

import pytest

from bridge.core.sessions.session import ReplayState, ScanRange


def test_what_was_read_for_it_are_its_topics_since_it_entered() -> None:
    it, reach = ReplayState({}, {}), ScanRange({})
    reach.bytes_by_topic.update(orders=5, news=7)
    it.join_scan(reach)
    assert it.total_bytes_read(["orders", "news"]) == 0
    reach.bytes_by_topic.update(orders=10, news=20, audit=40)
    assert it.total_bytes_read(["orders", "audit"]) == 50
    it.leave_scan(["orders"])
    assert (it.bytes_read, it.scan_range) == (10, None)
    reach.bytes_by_topic.update(orders=1)
    assert it.total_bytes_read(["orders"]) == 10
    it.join_scan(reach)
    reach.bytes_by_topic.update(orders=2)
    assert it.total_bytes_read(["orders"]) == 12


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
    reach = ScanRange({("orders", 0): 5, ("orders", 1): 5, ("news", 0): 5})
    reach.exclude("orders", ends)
    assert set(reach.next_offsets) == left
