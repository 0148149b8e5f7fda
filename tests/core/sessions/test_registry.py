"""Who on this instance follows what; an address is known exactly while somebody follows it."""

from __future__ import annotations

from bridge.core.sessions.registry import SubscriptionIndex
from tests.core.factories import session


def test_a_session_is_found_by_its_connection_its_account_and_its_rooms() -> None:
    interest, ann = SubscriptionIndex(), session("c1", "ann", rooms=["r", "s"])
    interest.add(ann)
    assert interest.by_connection == {"c1": ann}
    assert interest.by_account == {"ann": {ann}}
    assert interest.by_room == {"r": {ann}, "s": {ann}}
    assert interest.all_sessions == {ann}


def test_one_account_may_have_many_connections() -> None:
    interest, first, second = SubscriptionIndex(), session("c1"), session("c2")
    interest.add(first)
    interest.add(second)
    assert interest.by_account == {"ann": {first, second}}
    interest.remove(first)
    assert interest.by_account == {"ann": {second}}
    assert interest.by_connection == {"c2": second}


def test_without_an_account_there_are_rooms_and_all_only() -> None:
    interest, nobody = SubscriptionIndex(), session("c1", None, rooms=["r"])
    interest.add(nobody)
    assert interest.by_account == {}
    assert interest.by_room == {"r": {nobody}}
    assert interest.all_sessions == {nobody}
    interest.remove(nobody)
    assert interest.by_room == {}


def test_nothing_is_kept_for_those_who_left() -> None:
    interest, ann, bob = (
        SubscriptionIndex(),
        session("c1", rooms=["r"]),
        session("c2", "bob", rooms=["r"]),
    )
    for each in (ann, bob):
        interest.add(each)
    for each in (ann, bob):
        interest.remove(each)
    assert vars(interest) == vars(SubscriptionIndex())


def test_leaving_a_room_leaves_the_others_in_it() -> None:
    interest, ann, bob = (
        SubscriptionIndex(),
        session("c1", rooms=["r"]),
        session("c2", "bob", rooms=["r"]),
    )
    interest.add(ann)
    interest.add(bob)
    interest.remove_room(ann, "r")
    assert interest.by_room == {"r": {bob}}
    interest.remove_room(bob, "r")
    assert interest.by_room == {}
    assert interest.all_sessions == {ann, bob}


def test_a_room_entered_later_finds_the_session_too() -> None:
    interest, ann = SubscriptionIndex(), session("c1")
    interest.add(ann)
    interest.add_room(ann, "r")
    assert interest.by_room == {"r": {ann}}


def test_forgetting_one_who_is_not_known_changes_nothing() -> None:
    interest, ann, twin = (
        SubscriptionIndex(),
        session("c1", rooms=["r"]),
        session("c1", rooms=["r"]),
    )
    interest.add(ann)
    interest.remove(twin)
    interest.remove_room(twin, "r")
    interest.remove_room(ann, "nowhere")
    assert interest.by_connection == {"c1": ann}
    assert interest.by_account == {"ann": {ann}}
    assert interest.by_room == {"r": {ann}}
