"""The checker finds right histories right, and names what is wrong with the others.

Plain values for each rule; what must hold for every history is in `test_checker_faults.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.deliveries import ExpectedRange, Observation, ProducedEvent
from tests.harness.delivery_checker import check

if TYPE_CHECKING:
    from collections.abc import Sequence

WELCOME: dict[str, object] = {"op": "welcome", "connection": "c1"}
AGAIN: dict[str, object] = {"op": "welcome", "connection": "c2"}
GAP: dict[str, object] = {"op": "gap", "topic": "orders", "reason": "expired", "cursor": "x"}
OTHER_GAP = {**GAP, "topic": "news"}
TEN = [ExpectedRange("orders", 0, 0, 10)]


def order(offset: int, **audience: Any) -> ProducedEvent:
    return ProducedEvent(
        "orders", 0, offset, f"o-{offset}", **(audience or {"accounts": ("alice",)})
    )


def frame(record: ProducedEvent, to: str | None = "account", **other: object) -> dict[str, object]:
    return {
        "op": "event",
        "topic": record.topic,
        "at": record.position,
        "to": to,
        "id": record.id,
        "type": record.type,
        "data": None,
        **other,
    }


def verdict(
    produced: list[ProducedEvent],
    frames: list[dict[str, object]],
    owed: Sequence[ExpectedRange] = TEN,
    **other: Any,
) -> list[str]:
    """The violations' kinds and positions, as short as `missing 3`."""
    observation = Observation(
        "a client", "alice", frozenset({"orders"}), owed, frames, frozenset({"r", "s"}), **other
    )
    return [f"{v.kind} {v.position.split(':')[2]}" for v in check(produced, [observation])]


E = [order(offset) for offset in range(10)]
F = [frame(record) for record in E]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([WELCOME, *F], []),
        ([WELCOME, *F[:4], AGAIN, *F[4:]], []),
        ([WELCOME, *F[:4], *F[5:]], ["missing 4"]),
        ([WELCOME, *F[:9]], ["missing 9"]),
        ([WELCOME, *F[:4], AGAIN, *F[5:]], ["missing 4"]),
        ([WELCOME], [f"missing {offset}" for offset in range(10)]),
        ([], [f"missing {offset}" for offset in range(10)]),
        ([WELCOME, *F[:4], F[3], *F[4:]], ["twice 3"]),
        ([WELCOME, *F[:4], AGAIN, *F[3:]], ["twice 3"]),
        ([WELCOME, *F[:3], F[4], F[3], *F[5:]], ["out_of_order 3"]),
        ([WELCOME, *F[:3], F[4], AGAIN, F[3], *F[5:]], ["out_of_order 3"]),
        ([WELCOME, *F[:3], F[5], *F[3:5], *F[6:]], ["out_of_order 3", "out_of_order 4"]),
        ([F[0], WELCOME, *F[1:]], ["stray 0", "missing 0"]),
    ],
)
def test_each_event_is_due_once_and_in_order(frames, expected):
    assert verdict(E, frames) == expected


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([WELCOME, *F[:3], GAP, *F[6:]], []),
        ([WELCOME, GAP, *F[6:]], []),
        ([WELCOME, *F[:3], GAP], []),
        ([WELCOME, *F[:3], AGAIN, GAP, *F[6:]], []),
        ([WELCOME, *F[:3], OTHER_GAP, *F[6:]], ["missing 3", "missing 4", "missing 5"]),
        ([WELCOME, *F[:3], GAP, F[6], *F[8:]], ["missing 7"]),
        # A gap tells of the place where it came. A hole elsewhere was silent.
        ([WELCOME, F[0], *F[2:4], GAP, *F[6:]], ["missing 1"]),
        ([WELCOME, F[0], F[9], F[1], GAP, *F[3:9]], ["out_of_order 1", "missing 2"]),
        # It lets the order begin anew, but nothing come twice.
        ([WELCOME, *F[5:], GAP, *F[:5]], []),
        ([WELCOME, *F, GAP, F[9]], ["twice 9"]),
        ([WELCOME, *F[1:], OTHER_GAP, F[0]], ["out_of_order 0"]),
    ],
)
def test_a_gap_excuses_what_is_missing_where_it_came(frames, expected):
    assert verdict(E, frames) == expected


def test_a_gap_does_not_excuse_what_was_produced_after_it():
    owed = [ExpectedRange("orders", 0, 0, 10, after_gap=8)]
    assert verdict(E, [WELCOME, *F[:3], GAP], owed) == ["missing 8", "missing 9"]


def test_who_resumes_without_positions_gets_some_again_but_not_on_one_connection():
    some_again = [WELCOME, *F[:6], AGAIN, *F[3:]]
    assert verdict(E, some_again, resumed_with_positions=False) == []
    assert verdict(E, some_again) == ["twice 3", "twice 4", "twice 5"]
    twice_at_once = [*some_again, F[9]]
    assert verdict(E, twice_at_once, resumed_with_positions=False) == ["twice 9"]
    still_missing = [WELCOME, *F[:5], AGAIN, *F[3:5], *F[6:]]
    assert verdict(E, still_missing, resumed_with_positions=False) == ["missing 5"]


def test_what_is_owed_has_a_start_and_an_end():
    owed = [ExpectedRange("orders", 0, first=3, end=8)]
    assert verdict(E, [WELCOME, *F[3:8]], owed) == []
    assert verdict(E, [WELCOME, *F[3:]], owed) == []
    assert verdict(E, [WELCOME, *F[2:8]], owed) == ["stray 2"]
    assert verdict(E, [WELCOME, *F[4:8]], owed) == ["missing 3"]
    between = [ExpectedRange("orders", 0, first=3, end=8, earliest=2)]
    assert verdict(E, [WELCOME, *F[2:8]], between) == []
    assert verdict(E, [WELCOME, *F[1:8]], between) == ["stray 1"]
    assert verdict(E, [WELCOME, F[0]], []) == ["stray 0"]


FIRST = {"owed": [ExpectedRange("orders", 0, 0, 1)]}


@pytest.mark.parametrize(
    ("audience", "to"),
    [
        ({"connections": ("c0", "c1"), "accounts": ("alice",), "all": True}, "connection"),
        ({"accounts": ("bob", "alice"), "rooms": ("r",), "all": True}, "account"),
        ({"rooms": ("x", "s", "r"), "all": True}, "room:s"),
        ({"all": True}, "all"),
    ],
)
def test_to_is_the_first_that_matched(audience, to):
    record = order(0, **audience)
    assert verdict([record], [WELCOME, frame(record, to)], **FIRST) == []
    for other in {"connection", "account", "room:r", "room:s", "room:x", "all", None} - {to}:
        assert verdict([record], [WELCOME, frame(record, other)], **FIRST) == ["wrong_to 0"]


@pytest.mark.parametrize(
    "audience",
    [
        {"all": False},
        {"accounts": ("bob",), "rooms": ("x",), "connections": ("c2",)},
        {"all": True, "type": "other"},
        {"all": True, "type": "eventful"},
    ],
)
def test_what_is_for_others_is_neither_owed_nor_allowed(audience):
    record = order(0, **audience)
    assert verdict([record], [WELCOME], types=("event", "event.*"), **FIRST) == []
    frames = [WELCOME, frame(record, "all")]
    assert verdict([record], frames, types=("event", "event.*"), **FIRST) == ["stray 0"]


def test_nobody_is_not_an_account():
    record = order(0, accounts=("None", ""))
    seen = Observation("c", None, frozenset({"orders"}), FIRST["owed"], [WELCOME])
    assert check([record], [seen]) == []


def test_a_type_with_a_star_is_a_prefix():
    record = order(0, all=True, type="order.shipped")
    for types in [("order.*",), ("x", "*"), ("order.shipped",), None]:
        assert verdict([record], [WELCOME], types=types, **FIRST) == ["missing 0"]


def test_another_topic_is_a_stray():
    record = ProducedEvent("news", 0, 0, "n-0", all=True)
    assert verdict([record], [WELCOME], [ExpectedRange("news", 0, 0, 1)]) == []
    assert verdict([record], [WELCOME, frame(record, "all")], [ExpectedRange("news", 0, 0, 1)]) == [
        "stray 0"
    ]


def test_what_was_never_produced_is_a_stray():
    assert verdict([], [WELCOME, F[3]]) == ["stray 3"]


def test_an_event_for_a_connection_is_due_while_that_lives():
    first, second = order(0, connections=("c1",)), order(1, connections=("c2",))
    produced = [first, second, *E[2:]]
    both = [WELCOME, frame(first, "connection"), AGAIN, frame(second, "connection"), *F[2:]]
    assert verdict(produced, both) == []
    # It may have been produced when its connection had gone already: it is never replayed.
    assert verdict(produced, [WELCOME, *both[2:]]) == []
    # Here its connection went past it.
    assert verdict(produced, [WELCOME, F[2], AGAIN, *F[3:]]) == ["missing 0"]
    assert verdict(produced, [WELCOME, AGAIN, *F[2:]]) == ["missing 1"]
    assert verdict(produced, [WELCOME, AGAIN, frame(first, "connection"), *both[3:]]) == ["stray 0"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "o-1"},
        {"type": "other"},
        {"topic": "news"},
        {"data": {"n": 2}},
        {"tag": None},
        {"deleted": True},
    ],
)
def test_content_is_compared_where_it_is_known(wrong):
    record = order(0, all=True, content={"data": {"n": 1}, "tag": "t"})
    right = frame(record, "all", data={"n": 1}, tag="t")
    assert verdict([record], [WELCOME, right], **FIRST) == []
    assert verdict([record], [WELCOME, {**right, **wrong}], **FIRST) == ["wrong_content 0"]


def test_a_frame_has_one_body():
    bare = {name: value for name, value in F[0].items() if name != "data"}
    for body in ({"data_base64": ""}, {"deleted": True}):
        assert verdict(E[:1], [WELCOME, {**bare, **body}], **FIRST) == []
    assert verdict(E[:1], [WELCOME, bare], **FIRST) == ["wrong_content 0"]
    null = order(0, accounts=("alice",), content={"data": None})
    assert verdict([null], [WELCOME, {**bare, "deleted": True}], **FIRST) == ["wrong_content 0"]


def test_a_topic_that_was_created_again_begins_anew():
    new = [ProducedEvent("orders", 0, n, f"new-{n}", all=True, generation=1) for n in range(3)]
    came = [frame(record, "all") for record in new]
    owed = [
        ExpectedRange("orders", 0, 0, 10),
        ExpectedRange("orders", 0, 0, 3, after_gap=0, generation=1),
    ]
    assert verdict(E + new, [WELCOME, *F[:6], GAP, *came], owed) == []
    assert verdict(E + new, [WELCOME, *F[:6], GAP, *came[1:]], owed) == ["missing 0"]
    assert verdict(E + new, [WELCOME, *F, *came[2:]], owed) == [
        "out_of_order 2",
        "missing 0",
        "missing 1",
    ]


def test_each_client_is_judged_by_itself():
    seen = [
        Observation(name, account, frozenset({"orders"}), TEN, [WELCOME, *F])
        for name, account in (("a", "alice"), ("b", "bob"))
    ]
    assert {(v.kind, v.client) for v in check(E, seen)} == {("stray", "b")}
    assert check(E, seen)[0].sentence == "b: orders:0:0 is not for this client, or not yet"
