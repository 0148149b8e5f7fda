"""Who on this instance follows what; an address is known exactly while somebody follows it."""

from __future__ import annotations

from bridge.core.sessions.registry import Interest
from tests.core.given import session


def test_a_session_is_found_by_its_connection_its_account_and_its_rooms() -> None:
    interest, ann = Interest(), session("c1", "ann", rooms=["r", "s"])
    interest.add(ann)
    assert interest.connections == {"c1": ann}
    assert interest.accounts == {"ann": {ann}}
    assert interest.rooms == {"r": {ann}, "s": {ann}}
    assert interest.everybody == {ann}


def test_one_account_may_have_many_connections() -> None:
    interest, first, second = Interest(), session("c1"), session("c2")
    interest.add(first)
    interest.add(second)
    assert interest.accounts == {"ann": {first, second}}
    interest.remove(first)
    assert interest.accounts == {"ann": {second}}
    assert interest.connections == {"c2": second}


def test_without_an_account_there_are_rooms_and_all_only() -> None:
    interest, nobody = Interest(), session("c1", None, rooms=["r"])
    interest.add(nobody)
    assert interest.accounts == {}
    assert interest.rooms == {"r": {nobody}}
    assert interest.everybody == {nobody}
    interest.remove(nobody)
    assert interest.rooms == {}


def test_nothing_is_kept_for_those_who_left() -> None:
    interest, ann, bob = Interest(), session("c1", rooms=["r"]), session("c2", "bob", rooms=["r"])
    for each in (ann, bob):
        interest.add(each)
    for each in (ann, bob):
        interest.remove(each)
    assert vars(interest) == vars(Interest())


def test_leaving_a_room_leaves_the_others_in_it() -> None:
    interest, ann, bob = Interest(), session("c1", rooms=["r"]), session("c2", "bob", rooms=["r"])
    interest.add(ann)
    interest.add(bob)
    interest.leave(ann, "r")
    assert interest.rooms == {"r": {bob}}
    interest.leave(bob, "r")
    assert interest.rooms == {}
    assert interest.everybody == {ann, bob}


def test_a_room_entered_later_finds_the_session_too() -> None:
    interest, ann = Interest(), session("c1")
    interest.add(ann)
    interest.enter(ann, "r")
    assert interest.rooms == {"r": {ann}}


def test_forgetting_one_who_is_not_known_changes_nothing() -> None:
    interest, ann, twin = Interest(), session("c1", rooms=["r"]), session("c1", rooms=["r"])
    interest.add(ann)
    interest.remove(twin)
    interest.leave(twin, "r")
    interest.leave(ann, "nowhere")
    assert interest.connections == {"c1": ann}
    assert interest.accounts == {"ann": {ann}}
    assert interest.rooms == {"r": {ann}}
