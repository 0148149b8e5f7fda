"""Lookups: connections of this instance from the hub, others from the state topic."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.coordination.commands import Join, SetRoomTitle
from bridge.core.coordination.directory import ConnectionFilter, PresenceDirectory
from bridge.core.coordination.presence import PresenceIndex
from bridge.core.coordination.room_memberships import Memberships
from bridge.core.coordination.state_records import Tombstone
from bridge.core.protocol import close_codes
from tests.core.factories import attached_session, catch_up, cursor_at, hub, resumed_session
from tests.core.state_record_factories import alive_record, present_record

if TYPE_CHECKING:
    from bridge.core.sessions.hub import Hub


class DirectoryHarness:
    """A directory of the instance `i1`."""

    def __init__(self) -> None:
        self.hub: Hub = hub()
        self.presence_index, self.memberships = PresenceIndex(), Memberships()
        self.directory = PresenceDirectory(self.hub, self.presence_index, self.memberships)

    def ids(self, **wanted: Any) -> list[str]:
        return sorted(self.directory.connection_ids(ConnectionFilter(**wanted)))

    def rooms(self) -> dict[str, int]:
        return self.directory.connection_counts(set(self.directory.known_rooms()))


def test_clients_of_all_instances_are_found() -> None:
    harness = DirectoryHarness()
    attached_session(harness.hub, "c1", rooms=["hall"])
    resumed_session(catch_up(harness.hub), cursor_at(0, 0), "c2", rooms=["hall"])
    harness.presence_index.update_connection(
        present_record("c3", ("hall",), ("orders",), instance="i2")
    )
    harness.presence_index.update_connection(
        present_record("c4", (), ("news",), instance="i3", account=None)
    )
    assert harness.ids() == ["c1", "c2", "c3", "c4"]
    assert harness.ids(room="hall") == ["c1", "c2", "c3"]
    assert harness.ids(account="ann") == ["c1", "c2", "c3"]
    assert harness.ids(topic="news") == ["c4"]
    assert harness.ids(instance="i1") == ["c1", "c2"]
    assert harness.ids(instance="i2", room="hall") == ["c3"]
    assert (
        harness.ids(account="nobody")
        == harness.ids(room="yard")
        == harness.ids(instance="i9")
        == []
    )


@pytest.mark.parametrize(
    "pair",
    [
        *combinations(
            {"account": "ann", "room": "hall", "topic": "news", "instance": "i2"}.items(), 2
        )
    ],
    ids=lambda pair: "-and-".join(name for name, _ in pair),
)
@pytest.mark.parametrize("others", [0, 1, 2])
def test_every_filter_must_match(pair: tuple[tuple[str, str], ...], others: int) -> None:
    """Whichever filter has the fewest connections: `others` more match one of the two alone."""
    harness = DirectoryHarness()
    own = {"account": "bob", "room": "yard", "topic": "orders", "instance": "i3"}
    cases = {"both": dict(pair)}
    cases |= {f"{name} {n}": {name: wanted} for name, wanted in pair[:1] for n in range(others)}
    cases |= {name: {name: wanted} for name, wanted in pair[1:]}
    for id, matching in cases.items():
        has = own | matching
        harness.presence_index.update_connection(
            present_record(
                id,
                (has["room"],),
                (has["topic"],),
                instance=has["instance"],
                account=has["account"],
            )
        )
    assert harness.ids(**dict(pair)) == ["both"]


def test_connections_of_this_instance_come_from_the_hub() -> None:
    harness = DirectoryHarness()
    one = attached_session(harness.hub, "c1", rooms=["hall"])
    for id in ("c1", "left", "of the boot before"):
        harness.presence_index.update_connection(
            present_record(id, ("yard",), ("orders",), instance="i1")
        )
    assert harness.ids() == ["c1"]
    assert (harness.ids(room="hall"), harness.ids(room="yard")) == (["c1"], [])
    found = harness.directory.find_connection("c1")
    assert found is not None
    assert found.rooms == ["hall"]
    assert harness.directory.find_connection("left") is None
    assert harness.rooms() == {"hall": 1}
    harness.hub.close(one, close_codes.DRAINING)
    assert harness.ids() == []
    assert (harness.directory.find_connection("c1"), harness.directory.local_session("c1")) == (
        None,
        None,
    )


def test_remote_connections_come_from_the_state_topic() -> None:
    harness = DirectoryHarness()
    remote = present_record("c1", ("hall",), ("orders",), instance="i2")
    harness.presence_index.update_connection(remote)
    assert harness.directory.find_connection("c1") is remote
    assert harness.directory.local_session("c1") is None
    harness.presence_index.remove(Tombstone("connection", ("c1",)))
    assert harness.directory.find_connection("c1") is None


def test_a_room_is_known_while_it_has_a_connection_or_a_title() -> None:
    harness = DirectoryHarness()
    attached_session(harness.hub, "c1", rooms=["here"])
    resumed_session(catch_up(harness.hub), cursor_at(0, 0), "c2", rooms=["catching up"])
    harness.presence_index.update_connection(
        present_record("c3", ("elsewhere",), ("orders",), instance="i2")
    )
    harness.memberships.apply(Join("for good", account="nobody"))
    harness.memberships.apply(SetRoomTitle("named", "A name"))
    counts = {"here": 1, "catching up": 1, "elsewhere": 1, "for good": 0, "named": 0}
    assert harness.rooms() == counts
    assert harness.directory.connection_counts(["nowhere"]) == {"nowhere": 0}


def test_an_instance_has_the_number_of_its_connections() -> None:
    harness = DirectoryHarness()
    for name in ("i1", "i2", "i3"):
        harness.presence_index.update_instance(alive_record(name))
    attached_session(harness.hub, "c1")
    for id in ("c2", "c3"):
        harness.presence_index.update_connection(present_record(id, instance="i2"))
    harness.presence_index.update_connection(present_record("left", instance="i1"))
    found = harness.directory.instances()
    assert {name: (heartbeat.instance, count) for name, (heartbeat, count) in found.items()} == {
        "i1": ("i1", 1),
        "i2": ("i2", 2),
        "i3": ("i3", 0),
    }


someone = st.tuples(
    st.sampled_from(["i1", "i2", "i3"]),
    st.sampled_from(["ann", "bob", None]),
    st.sets(st.sampled_from(["hall", "yard"])),
    st.sets(st.sampled_from(["orders", "news"])),
)
anything = st.fixed_dictionaries(
    {},
    optional={
        "account": st.sampled_from(["ann", "bob", "cat"]),
        "room": st.sampled_from(["hall", "yard", "attic"]),
        "topic": st.sampled_from(["orders", "news", "audit"]),
        "instance": st.sampled_from(["i1", "i2", "i4"]),
    },
)


@given(st.lists(someone, max_size=8), anything)
def test_all_conditions_of_a_filter_must_hold(
    people: list[tuple[str, str | None, set[str], set[str]]], wanted: dict[str, str]
) -> None:
    harness = DirectoryHarness()
    expected = []
    for number, (instance, account, rooms, topics) in enumerate(people):
        id = f"c{number}"
        if instance == "i1":
            attached_session(harness.hub, id, account, rooms=rooms, topics=topics)
        else:
            harness.presence_index.update_connection(
                present_record(id, (*rooms,), (*topics,), instance=instance, account=account)
            )
        is_so: dict[str, set[Any]] = {
            "account": {account},
            "room": rooms,
            "topic": topics,
            "instance": {instance},
        }
        if all(name in is_so[what] for what, name in wanted.items()):
            expected.append(id)
    assert harness.ids(**wanted) == sorted(expected)
    assert harness.rooms() == Counter(room for _, _, rooms, _ in people for room in rooms)


def test_results_may_be_consumed_in_parts_while_connections_change() -> None:
    harness = DirectoryHarness()
    for number in range(4):
        attached_session(harness.hub, f"h{number}", rooms=[f"hr{number}"])
        harness.presence_index.update_connection(
            present_record(f"e{number}", (f"er{number}",), instance="i2")
        )
    ids, rooms = (
        harness.directory.connection_ids(ConnectionFilter()),
        harness.directory.known_rooms(),
    )
    taken = {next(ids), next(rooms)}
    attached_session(harness.hub, "h9", rooms=["hr9"])
    harness.presence_index.update_connection(present_record("e9", ("er9",), instance="i2"))
    harness.presence_index.remove(Tombstone("connection", ("e0",)))
    harness.hub.close(harness.hub.registry.by_id["h0"], close_codes.DRAINING)
    taken |= {*ids, *rooms}
    assert taken >= {f"{kind}{number}" for number in (1, 2, 3) for kind in ("h", "e", "hr", "er")}
