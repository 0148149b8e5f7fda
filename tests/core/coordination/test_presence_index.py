"""The indexes of connections, against a model that searches a plain dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.coordination.presence import PresenceIndex, RoomOrTopic, rooms_and_topics
from bridge.core.coordination.state_records import ConnectionPresence, Tombstone
from tests.core.state_record_factories import alive_record, gone_record, present_record

few_rooms = st.lists(st.sampled_from(["hall", "yard"]), max_size=3).map(tuple)
few_topics = st.lists(st.sampled_from(["hall", "news"]), max_size=2).map(tuple)
comings = st.builds(
    present_record,
    st.sampled_from(["c1", "c2", "c3"]),
    few_rooms,
    few_topics,
    instance=st.sampled_from(["i1", "i2"]),
    account=st.sampled_from(["ann", "bob", None]),
)
steps = st.lists(comings | st.sampled_from(["c1", "c2", "c3", "never"]), max_size=20)


def connections_in(model: dict[str, ConnectionPresence], place: RoomOrTopic) -> set[str]:
    """Search all connections for those in a room or topic."""
    kind, name = place
    return {p.id for p in model.values() if name in (p.rooms if kind == "room" else p.topics)}


PLACES: list[RoomOrTopic] = [
    *(("room", "hall"), ("room", "yard")),
    *(("topic", "hall"), ("topic", "news")),
]


@given(steps)
def test_a_connection_is_found_by_each_index_once(done: list[ConnectionPresence | str]) -> None:
    index, model = PresenceIndex(), dict[str, ConnectionPresence]()
    for step in done:
        before = {place: connections_in(model, place) for place in PLACES}
        if isinstance(step, ConnectionPresence):
            model[step.id] = step
            changed = index.update_connection(step)
            moved = {step.id}
        else:
            model.pop(step, None)
            changed = index.remove(gone_record(step))
            moved = {step}
        after = {place: connections_in(model, place) for place in PLACES}
        left_or_come = [place for place in PLACES if before[place] != after[place]]
        assert sorted(changed) == sorted(left_or_come), moved
        assert index.connections == model
        assert {place: set(who) for place, who in index.by_room_or_topic.items()} == {
            place: who for place, who in after.items() if who
        }
        assert by(index.by_account) == looked_up(model, "account")
        assert by(index.by_instance) == looked_up(model, "instance")


def by(index: dict[str, dict[str, ConnectionPresence]]) -> dict[str, set[str]]:
    assert all(present.id == id for model in index.values() for id, present in model.items())
    return {name: set(model) for name, model in index.items()}


def looked_up(model: dict[str, ConnectionPresence], field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in model.values():
        if (name := getattr(each, field)) is not None:
            found.setdefault(name, set()).add(each.id)
    return found


def test_the_last_record_of_a_connection_is_found() -> None:
    index = PresenceIndex()
    index.update_connection(present_record("c1", ("hall",)))
    newer = present_record("c1", ("hall", "yard"))
    assert index.update_connection(newer) == [("room", "yard")]
    assert index.by_room_or_topic["room", "hall"]["c1"] is newer
    assert index.by_account["ann"]["c1"] is newer


def test_removed_connections_leave_no_entries() -> None:
    index = PresenceIndex()
    index.update_instance(alive_record("i1"))
    index.update_connection(present_record("c1", ("hall",), ("news",)))
    assert index.remove(gone_record("c1")) == [("room", "hall"), ("topic", "news")]
    assert index.remove(gone_record("c1")) == []
    assert index.remove(Tombstone("instance", ("i1",))) == []
    assert index.remove(Tombstone("instance", ("i1",))) == []
    assert vars(index) == vars(PresenceIndex())


def test_removing_an_instance_keeps_its_connections() -> None:
    index = PresenceIndex()
    index.update_instance(alive_record("i1"))
    index.update_connection(present_record("c1", ("hall",)))
    index.remove(Tombstone("instance", ("i1",)))
    assert index.instances == {}
    assert set(index.by_instance["i1"]) == {"c1"}


def test_a_repeated_room_counts_once() -> None:
    assert list(rooms_and_topics(present_record("c1", ("r", "r"), ("t", "t")))) == [
        ("room", "r"),
        ("topic", "t"),
    ]
