"""Everybody who is connected here, and who has changed since that was last asked."""

from __future__ import annotations

from bridge.core.protocol import close_codes
from bridge.core.sessions.registry import SessionRegistry
from bridge.core.sessions.session import MembershipSource
from tests.core.factories import (
    attached_session,
    catch_up,
    cursor_at,
    hub,
    resumed_session,
    session,
)


def test_who_came_is_told_once() -> None:
    crowd, ann = SessionRegistry(), session("c1")
    crowd.add(ann)
    assert (len(crowd), crowd.by_id) == (1, {"c1": ann})
    assert crowd.pop_changed() == [ann]
    assert crowd.pop_changed() == []


def test_who_left_is_told_once() -> None:
    crowd, ann = SessionRegistry(), session("c1")
    crowd.add(ann)
    crowd.pop_changed()
    crowd.remove(ann)
    crowd.remove(ann)
    assert (len(crowd), crowd.pop_changed(), crowd.pop_changed()) == (0, [ann], [])


def test_one_who_is_not_here_changes_nothing() -> None:
    crowd, ann = SessionRegistry(), session("c1")
    crowd.mark_changed(ann)
    crowd.remove(ann)
    assert crowd.pop_changed() == []


def test_many_changes_of_one_are_one() -> None:
    crowd, ann, bob = SessionRegistry(), session("c1"), session("c2")
    for each in (ann, bob, ann):
        crowd.add(each)
        crowd.mark_changed(each)
    assert crowd.pop_changed() == [ann, bob]


# -- in the hub ------------------------------------------------------------------------------------


def test_one_is_in_the_crowd_from_the_welcome_until_it_is_hung_up_on() -> None:
    at = hub()
    it = session("c1")
    assert len(at.registry) == 0
    at.attach(it)
    assert at.registry.by_id == {"c1": it}
    at.close(it, close_codes.DRAINING)
    assert len(at.registry) == 0
    at.detach(it)
    assert at.registry.pop_changed() == [it]


def test_one_that_vanishes_is_not_in_the_crowd_any_more() -> None:
    at = hub()
    it = attached_session(at)
    at.detach(it)
    assert len(at.registry) == 0


def test_one_that_comes_back_is_in_the_crowd_while_it_is_caught_up() -> None:
    at = hub()
    it = resumed_session(catch_up(at), cursor_at(0, 0))
    assert it in at.replaying
    assert at.registry.by_id == {"c1": it}


def test_whoever_follows_something_else_has_changed() -> None:
    at = hub()
    it = attached_session(at)
    at.registry.pop_changed()
    for change in (
        lambda: at.subscribe(it, ["news"], []),
        lambda: at.unsubscribe(it, ["news"], []),
        lambda: at.subscribe(it, [], ["hall"]),
        lambda: at.unsubscribe(it, [], ["hall"]),
        lambda: at.add_membership(it, "hall", MembershipSource.ACCOUNT),
        lambda: at.remove_membership(it, "hall", MembershipSource.ACCOUNT),
    ):
        change()
        assert at.registry.pop_changed() == [it]


def test_another_hand_in_the_same_room_is_no_change() -> None:
    at = hub()
    it = attached_session(at, rooms=["hall"])
    at.registry.pop_changed()
    at.add_membership(it, "hall", MembershipSource.CONNECTION)
    at.remove_membership(it, "hall", MembershipSource.OWN)
    at.remove_membership(it, "hall", MembershipSource.ACCOUNT)
    assert at.registry.pop_changed() == []
