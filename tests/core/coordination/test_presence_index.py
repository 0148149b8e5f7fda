"""Who is connected anywhere, against a model too simple to be wrong: it looks through everybody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.coordination.presence import Place, Roster, places
from bridge.core.coordination.state_records import Gone, Present
from tests.core.facts import alive, gone, present

few_rooms = st.lists(st.sampled_from(["hall", "yard"]), max_size=3).map(tuple)
few_topics = st.lists(st.sampled_from(["hall", "news"]), max_size=2).map(tuple)
comings = st.builds(
    present,
    st.sampled_from(["c1", "c2", "c3"]),
    few_rooms,
    few_topics,
    instance=st.sampled_from(["i1", "i2"]),
    account=st.sampled_from(["ann", "bob", None]),
)
steps = st.lists(comings | st.sampled_from(["c1", "c2", "c3", "never"]), max_size=20)


def there(held: dict[str, Present], place: Place) -> set[str]:
    """Look through everybody for those who are at a place."""
    kind, name = place
    return {p.id for p in held.values() if name in (p.rooms if kind == "room" else p.topics)}


PLACES: list[Place] = [
    *(("room", "hall"), ("room", "yard")),
    *(("topic", "hall"), ("topic", "news")),
]


@given(steps)
def test_everybody_is_found_by_everything_and_once(done: list[Present | str]) -> None:
    roster, held = Roster(), dict[str, Present]()
    for step in done:
        before = {place: there(held, place) for place in PLACES}
        if isinstance(step, Present):
            held[step.id] = step
            changed = roster.come(step)
            moved = {step.id}
        else:
            held.pop(step, None)
            changed = roster.go(gone(step))
            moved = {step}
        after = {place: there(held, place) for place in PLACES}
        left_or_come = [place for place in PLACES if before[place] != after[place]]
        assert sorted(changed) == sorted(left_or_come), moved
        assert roster.connections == held
        assert {place: set(who) for place, who in roster.by_place.items()} == {
            place: who for place, who in after.items() if who
        }
        assert by(roster.by_account) == looked_up(held, "account")
        assert by(roster.by_instance) == looked_up(held, "instance")


def by(index: dict[str, dict[str, Present]]) -> dict[str, set[str]]:
    assert all(present.id == id for held in index.values() for id, present in held.items())
    return {name: set(held) for name, held in index.items()}


def looked_up(held: dict[str, Present], field: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in held.values():
        if (name := getattr(each, field)) is not None:
            found.setdefault(name, set()).add(each.id)
    return found


def test_what_is_found_is_what_was_said_last() -> None:
    roster = Roster()
    roster.come(present("c1", ("hall",)))
    newer = present("c1", ("hall", "yard"))
    assert roster.come(newer) == [("room", "yard")]
    assert roster.by_place["room", "hall"]["c1"] is newer
    assert roster.by_account["ann"]["c1"] is newer


def test_nothing_is_kept_of_those_who_left() -> None:
    roster = Roster()
    roster.hear(alive("i1"))
    roster.come(present("c1", ("hall",), ("news",)))
    assert roster.go(gone("c1")) == [("room", "hall"), ("topic", "news")]
    assert roster.go(gone("c1")) == []
    assert roster.go(Gone("instance", ("i1",))) == []
    assert roster.go(Gone("instance", ("i1",))) == []
    assert vars(roster) == vars(Roster())


def test_an_instance_that_is_gone_takes_nobody_with_it() -> None:
    roster = Roster()
    roster.hear(alive("i1"))
    roster.come(present("c1", ("hall",)))
    roster.go(Gone("instance", ("i1",)))
    assert roster.instances == {}
    assert set(roster.by_instance["i1"]) == {"c1"}


def test_a_place_that_is_said_twice_is_one() -> None:
    assert list(places(present("c1", ("r", "r"), ("t", "t")))) == [("room", "r"), ("topic", "t")]
