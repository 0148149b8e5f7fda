"""Everybody who is connected here, and who has changed since that was last asked."""

from __future__ import annotations

from bridge.core.protocol import close_codes
from bridge.core.sessions.registry import Crowd
from bridge.core.sessions.session import Hand
from tests.core.given import attached, catch_up, hub, returned, session, standing


def test_who_came_is_told_once() -> None:
    crowd, ann = Crowd(), session("c1")
    crowd.add(ann)
    assert (len(crowd), crowd.sessions) == (1, {"c1": ann})
    assert crowd.take_changed() == [ann]
    assert crowd.take_changed() == []


def test_who_left_is_told_once() -> None:
    crowd, ann = Crowd(), session("c1")
    crowd.add(ann)
    crowd.take_changed()
    crowd.remove(ann)
    crowd.remove(ann)
    assert (len(crowd), crowd.take_changed(), crowd.take_changed()) == (0, [ann], [])


def test_one_who_is_not_here_changes_nothing() -> None:
    crowd, ann = Crowd(), session("c1")
    crowd.note(ann)
    crowd.remove(ann)
    assert crowd.take_changed() == []


def test_many_changes_of_one_are_one() -> None:
    crowd, ann, bob = Crowd(), session("c1"), session("c2")
    for each in (ann, bob, ann):
        crowd.add(each)
        crowd.note(each)
    assert crowd.take_changed() == [ann, bob]


# -- in the hub ------------------------------------------------------------------------------------


def test_one_is_in_the_crowd_from_the_welcome_until_it_is_hung_up_on() -> None:
    at = hub()
    it = session("c1")
    assert len(at.crowd) == 0
    at.attach(it)
    assert at.crowd.sessions == {"c1": it}
    at.hang_up(it, close_codes.DRAINING)
    assert len(at.crowd) == 0
    at.detach(it)
    assert at.crowd.take_changed() == [it]


def test_one_that_vanishes_is_not_in_the_crowd_any_more() -> None:
    at = hub()
    it = attached(at)
    at.detach(it)
    assert len(at.crowd) == 0


def test_one_that_comes_back_is_in_the_crowd_while_it_is_caught_up() -> None:
    at = hub()
    it = returned(catch_up(at), standing(0, 0))
    assert it in at.replaying
    assert at.crowd.sessions == {"c1": it}


def test_whoever_follows_something_else_has_changed() -> None:
    at = hub()
    it = attached(at)
    at.crowd.take_changed()
    for change in (
        lambda: at.follow(it, ["news"], []),
        lambda: at.unfollow(it, ["news"], []),
        lambda: at.follow(it, [], ["hall"]),
        lambda: at.unfollow(it, [], ["hall"]),
        lambda: at.give(it, "hall", Hand.ACCOUNT),
        lambda: at.let_go(it, "hall", Hand.ACCOUNT),
    ):
        change()
        assert at.crowd.take_changed() == [it]


def test_another_hand_in_the_same_room_is_no_change() -> None:
    at = hub()
    it = attached(at, rooms=["hall"])
    at.crowd.take_changed()
    at.give(it, "hall", Hand.CONNECTION)
    at.let_go(it, "hall", Hand.OWN)
    at.let_go(it, "hall", Hand.ACCOUNT)
    assert at.crowd.take_changed() == []
