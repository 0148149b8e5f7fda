"""Contract 1 and 3.2: who receives an event, once, and what `to` says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.event import Body, Event
from bridge.core.sessions.fanout import deliver, group_by_audience, group_max_bytes, match_reason
from bridge.core.sessions.registry import SubscriptionIndex
from tests.core.factories import event, session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.core.sessions.session import Session

MOST = group_max_bytes(1 << 20)


class Bank:
    """Takes what is offered, but from those that are full."""

    def __init__(self, *sessions: Session) -> None:
        self.interest = SubscriptionIndex()
        for each in sessions:
            self.interest.add(each)
        self.full: set[Session] = set()
        self.offered: list[tuple[str, bytes]] = []

    def offer(self, to: Session, frames: bytes, count: int) -> bool:
        self.offered.append((to.id, frames))
        assert frames.count(b'"op":"event"') == count
        return to not in self.full

    def deliver(self, *events: Event, topic: str = "orders", partition: int = 0) -> list[Session]:
        made = group_by_audience(self.interest, events, MOST)
        return [full for run in made for full in deliver(run, topic, partition, self.offer)]

    def reached(self, it: Event, topic: str = "orders", partition: int = 0) -> dict[str, str]:
        """Deliver `it`; return by connection why it was got."""
        self.offered.clear()
        self.deliver(it, topic=topic, partition=partition)
        assert len({id for id, _ in self.offered}) == len(self.offered)
        return {id: json.loads(frame)["to"] for id, frame in self.offered}


def bank() -> Bank:
    return Bank(
        session("c1", "ann", rooms=["r", "s"]),
        session("c2", "ann"),
        session("c3", "bob", rooms=["s"]),
        session("c4", None, topics=["orders", "news"]),
        session("c5", "ann", topics=["news"], rooms=["r"]),
    )


@pytest.mark.parametrize(
    ("audience", "reached"),
    [
        ({}, {}),
        ({"accounts": ["eve"], "rooms": ["x"], "connections": ["c9"]}, {}),
        ({"accounts": ["ann"]}, {"c1": "account", "c2": "account"}),
        ({"accounts": ["bob", "ann"]}, {"c3": "account", "c1": "account", "c2": "account"}),
        ({"connections": ["c4", "c3"]}, {"c4": "connection", "c3": "connection"}),
        ({"rooms": ["s"]}, {"c1": "room:s", "c3": "room:s"}),
        ({"all": True}, {"c1": "all", "c2": "all", "c3": "all", "c4": "all"}),
    ],
)
def test_an_event_reaches_its_audience_and_nobody_else(
    audience: dict[str, Any], reached: dict[str, str]
) -> None:
    assert bank().reached(event(**audience)) == reached


@pytest.mark.parametrize(
    ("audience", "why"),
    [
        ({"all": True, "rooms": ["r"]}, "room:r"),
        ({"all": True, "rooms": ["x", "s", "r"]}, "room:s"),
        ({"rooms": ["s", "r"], "accounts": ["ann"], "all": True}, "account"),
        ({"rooms": ["s"], "accounts": ["ann"], "connections": ["c1"], "all": True}, "connection"),
        ({"connections": ["c1", "c1"], "accounts": ["ann", "ann"]}, "connection"),
        ({"accounts": ["bob", "ann", "ann"]}, "account"),
    ],
)
def test_one_that_matches_in_several_ways_arrives_once_for_the_first(
    audience: dict[str, Any], why: str
) -> None:
    assert bank().reached(event(**audience))["c1"] == why


def test_only_those_that_are_subscribed_to_the_topic_get_it() -> None:
    assert bank().reached(event(all=True), "news") == {"c4": "all", "c5": "all"}
    assert bank().reached(event(all=True), "audit") == {}


def test_only_types_that_are_asked_for_are_sent() -> None:
    some = Bank(session("c1", types=["order.*"]), session("c2", types=[]), session("c3"))
    assert set(some.reached(event(all=True, type="order.paid"))) == {"c1", "c3"}
    assert set(some.reached(event(all=True, type="orders"))) == {"c3"}
    assert set(some.reached(event(all=True, connections=["c1", "c2"]))) == {"c3"}


def test_one_that_is_not_wanted_for_one_reason_is_not_for_another() -> None:
    ahead = session("c1", rooms=["r"])
    ahead.min_offsets = {"orders": {0: 5}}
    assert Bank(ahead).reached(event(4, accounts=["ann"], rooms=["r"], all=True)) == {}


@pytest.mark.parametrize(("offset", "sent"), [(4, False), (5, True), (6, True)])
def test_nothing_at_or_below_a_clients_own_cursor_is_sent(offset: int, sent: bool) -> None:
    ahead = session("c1")
    ahead.min_offsets = {"orders": {0: 5}}
    assert bool(Bank(ahead).reached(event(offset, all=True))) == sent


def test_a_floor_holds_for_its_topic_and_partition_only() -> None:
    ahead = session("c1", topics=["orders", "news"])
    ahead.min_offsets = {"orders": {0: 5}}
    assert Bank(ahead).reached(event(0, all=True), "orders", 1)
    assert Bank(ahead).reached(event(0, all=True), "news", 0)


def test_those_that_could_not_take_it_are_returned_once_and_the_others_got_it() -> None:
    here = bank()
    here.full = {each for each in here.interest.all_sessions if each.id in {"c1", "c2"}}
    overflowed = here.deliver(event(accounts=["ann"], rooms=["s", "r"]))
    assert sorted(each.id for each in overflowed) == ["c1", "c2"]
    assert sorted(id for id, _ in here.offered) == ["c1", "c2", "c3"]


def test_the_frame_is_built_once_for_each_address_and_kind_of_socket() -> None:
    wrapped: list[bytes] = []

    def kind(name: bytes) -> Callable[[bytes], bytes]:
        def wrap(frame: bytes) -> bytes:
            wrapped.append(frame)
            return name + frame

        return wrap

    sockets, streams = kind(b"ws:"), kind(b"sse:")
    crowd = [session(f"c{number}", rooms=["r"] * (number < 3)) for number in range(6)]
    for number, each in enumerate(crowd):
        each.wrap_frame = streams if number % 2 else sockets
    here = Bank(*crowd)
    here.deliver(event(rooms=["r"], all=True))
    assert len(wrapped) == 4
    for number, each in enumerate(crowd):
        frame = dict(here.offered)[each.id]
        assert frame.startswith(b"sse:{" if number % 2 else b"ws:{")
        assert (b'"to":"room:r"' in frame) == (number < 3)


@given(
    audience=st.fixed_dictionaries(
        {
            "connections": st.lists(st.sampled_from(["c1", "c2"]), max_size=2),
            "accounts": st.lists(st.sampled_from(["ann", "bob"]), max_size=2),
            "rooms": st.lists(st.sampled_from(["r", "s", "t"]), max_size=3),
            "all": st.booleans(),
            "type": st.sampled_from(["a", "b"]),
        }
    ),
    account=st.sampled_from(["ann", None]),
    rooms=st.sets(st.sampled_from(["r", "s"])),
    types=st.sampled_from([None, ["a"]]),
)
def test_what_happens_and_what_is_replayed_is_for_the_same_reason(
    audience: dict[str, Any], account: str | None, rooms: set[str], types: list[str] | None
) -> None:
    it, happened = session("c1", account, rooms=rooms, types=types), event(**audience)
    why = match_reason(it, happened)
    assert Bank(it).reached(happened).get("c1") == why


def test_the_frame_says_where_its_record_is() -> None:
    here = bank()
    here.deliver(event(41, connections=["c4"]), topic="news", partition=3)
    ((id, frame),) = here.offered
    assert id == "c4"
    assert json.loads(frame)["topic"] == "news"
    assert json.loads(frame)["at"] == "news:3:41"


def test_a_value_that_is_for_nobody_here_is_not_opened() -> None:
    it = event(0, b"\xff", body=Body.UNCHECKED, accounts=["eve"], rooms=["x"])
    assert bank().deliver(it) == []
    assert it.body is Body.UNCHECKED


def test_what_follows_each_other_for_one_audience_is_handed_out_at_once() -> None:
    here = bank()
    some = [event(n, rooms=["s"]) for n in range(3)]
    others = [event(3, accounts=["eve"]), event(4, rooms=["s"]), event(5, rooms=["s"], all=True)]
    made = group_by_audience(here.interest, some + others, MOST)
    assert [[each.offset for each in run.events] for run in made] == [[0, 1, 2], [4], [5]]
    here.deliver(*some)
    assert sorted(id for id, _ in here.offered) == ["c1", "c3"]
    assert len({id(frames) for _, frames in here.offered}) == 1


def test_a_run_ends_where_it_is_large_however_large_one_event_may_be() -> None:
    here = bank()
    some = [event(n, b"1" * size, all=True) for n, size in enumerate([10, 10, 5000, 10, 10, 10])]
    made = list(group_by_audience(here.interest, some, 1000))
    assert [[each.offset for each in run.events] for run in made] == [[0, 1, 2], [3, 4, 5]]
    tiny = list(group_by_audience(here.interest, some, group_max_bytes(1)))
    assert [len(run.events) for run in tiny] == [1] * 6


def test_of_a_run_everybody_gets_the_types_that_it_asked_for() -> None:
    wishes = [["a"], ["b"], ["a", "b"], ["c"], None]
    crowd = [session(f"c{number}", types=wishes[number % 5]) for number in range(40)]
    here = Bank(*crowd)
    here.deliver(*(event(n, type=type, all=True) for n, type in enumerate("aabab")))
    offered = dict(here.offered)
    assert len(offered) == len(here.offered)
    for number, each in enumerate(crowd):
        wish = wishes[number % 5]
        expected = [n for n, type in enumerate("aabab") if wish is None or type in wish]
        frames = offered.get(each.id, b"")
        assert [n for n in range(5) if b'"at":"orders:0:%d"' % n in frames] == expected


audiences = st.fixed_dictionaries(
    {},
    optional={
        "connections": st.lists(st.sampled_from(["c1", "c9"]), max_size=1),
        "accounts": st.lists(st.sampled_from(["ann", "eve"]), max_size=2),
        "rooms": st.lists(st.sampled_from(["r", "s", "x"]), max_size=2),
        "all": st.booleans(),
    },
)


@given(
    st.lists(st.tuples(audiences, st.sampled_from(["a", "b"]), st.integers(1, 3)), max_size=8),
    st.integers(0, 1200),
)
def test_joined_or_one_by_one_everybody_gets_the_same_in_the_same_order(
    stretches: list[tuple[dict[str, Any], str, int]], most: int
) -> None:
    kinds = [(audience, type) for audience, type, count in stretches for _ in range(count)]
    some = [event(n, type=type, **audience) for n, (audience, type) in enumerate(kinds)]
    ahead = session("c6", "ann", rooms=["r"])
    ahead.min_offsets = {"orders": {0: 3}}
    here = Bank(
        *bank().interest.all_sessions, ahead, session("c7", "bob", rooms=["s"], types=["a"])
    )

    def got(*portions: Sequence[Event]) -> dict[str, bytes]:
        here.offered.clear()
        for portion in portions:
            for run in group_by_audience(here.interest, portion, most):
                deliver(run, "orders", 0, here.offer)
        found: dict[str, bytes] = {}
        for id, frames in here.offered:
            found[id] = found.get(id, b"") + frames
        return found

    assert got(some) == got(*([each] for each in some))
