"""Who is connected anywhere, against a model too simple to be wrong: it looks through everybody."""

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


def there(held: dict[str, ConnectionPresence], place: RoomOrTopic) -> set[str]:
    """Look through everybody for those who are at a place."""
    kind, name = place
    return {p.id for p in held.values() if name in (p.rooms if kind == "room" else p.topics)}


PLACES: list[RoomOrTopic] = [
    *(("room", "hall"), ("room", "yard")),
    *(("topic", "hall"), ("topic", "news")),
]


@given(steps)
def test_a_connection_is_found_by_each_index_once(done: list[ConnectionPresence | str]) -> None:
    roster, held = PresenceIndex(), dict[str, ConnectionPresence]()
    for step in done:
        before = {place: there(held, place) for place in PLACES}
        if isinstance(step, ConnectionPresence):
            held[step.id] = step
            changed = roster.update_connection(step)
            moved = {step.id}
        else:
            held.pop(step, None)
            changed = roster.remove(gone_record(step))
            moved = {step}
        after = {place: there(held, place) for place in PLACES}
        left_or_come = [place for place in PLACES if before[place] != after[place]]
        assert sorted(changed) == sorted(left_or_come), moved
        assert roster.connections == held
        assert {place: set(who) for place, who in roster.by_room_or_topic.items()} == {
            place: who for place, who in after.items() if who
        }
        assert by(roster.by_account) == looked_up(held, "account")
        assert by(roster.by_instance) == looked_up(held, "instance")


def by(index: dict[str, dict[str, ConnectionPresence]]) -> dict[str, set[str]]:
    assert all(present.id == id for held in index.values() for id, present in held.items())
    return {name: set(held) for name, held in index.items()}


def looked_up(held: dict[str, ConnectionPresence], field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in held.values():
        if (name := getattr(each, field)) is not None:
            found.setdefault(name, set()).add(each.id)
    return found


def test_the_last_record_of_a_connection_is_found() -> None:
    roster = PresenceIndex()
    roster.update_connection(present_record("c1", ("hall",)))
    newer = present_record("c1", ("hall", "yard"))
    assert roster.update_connection(newer) == [("room", "yard")]
    assert roster.by_room_or_topic["room", "hall"]["c1"] is newer
    assert roster.by_account["ann"]["c1"] is newer


def test_removed_connections_leave_no_entries() -> None:
    roster = PresenceIndex()
    roster.update_instance(alive_record("i1"))
    roster.update_connection(present_record("c1", ("hall",), ("news",)))
    assert roster.remove(gone_record("c1")) == [("room", "hall"), ("topic", "news")]
    assert roster.remove(gone_record("c1")) == []
    assert roster.remove(Tombstone("instance", ("i1",))) == []
    assert roster.remove(Tombstone("instance", ("i1",))) == []
    assert vars(roster) == vars(PresenceIndex())


def test_removing_an_instance_keeps_its_connections() -> None:
    roster = PresenceIndex()
    roster.update_instance(alive_record("i1"))
    roster.update_connection(present_record("c1", ("hall",)))
    roster.remove(Tombstone("instance", ("i1",)))
    assert roster.instances == {}
    assert set(roster.by_instance["i1"]) == {"c1"}


def test_a_repeated_room_counts_once() -> None:
    assert list(rooms_and_topics(present_record("c1", ("r", "r"), ("t", "t")))) == [
        ("room", "r"),
        ("topic", "t"),
    ]
