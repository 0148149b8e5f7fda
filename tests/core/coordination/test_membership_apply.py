"""What commands do to the clients that are connected here, from the moment they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.coordination.commands import Disconnect, Drain, Join, Leave, Revoke, SetRoomTitle
from bridge.core.coordination.membership import CommandExecutor, Memberships
from bridge.core.protocol.close_codes import DISCONNECTED, EXPIRED
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import MembershipSource, Session
from tests.core.factories import (
    attached_session,
    catch_up,
    cursor_at,
    event,
    hub,
    publish,
    resumed_session,
    session,
    take_frames,
)

if TYPE_CHECKING:
    from bridge.core.coordination.commands import Command
    from bridge.core.sessions.hub import Hub

NOON = "1970-01-01T12:00:00Z"
NOON_SECONDS = 43_200.0


class Desk:
    """A hub, and what backends do to it."""

    def __init__(self) -> None:
        self.hub: Hub = hub()
        self.members = Memberships()
        self.backend = CommandExecutor(self.hub, self.members)

    def execute(self, command: Command) -> tuple[bytes, bytes | None] | None:
        kept = self.members.apply(command)
        self.backend.apply(command)
        return kept

    def here(self, id: str, account: str | None = "ann", **asked: Any) -> Session:
        return attached_session(self.hub, id, account, **asked)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def rooms_told(of: Session) -> list[tuple[list[str], list[str]]]:
    told = take_frames(of)
    assert all(frame["op"] == "rooms" for frame in told)
    return [(frame["joined"], frame["left"]) for frame in told]


# -- rooms -----------------------------------------------------------------------------------------


def test_a_join_of_a_connection_changes_it_alone(desk: Desk) -> None:
    one, two = desk.here("c1"), desk.here("c2")
    assert desk.execute(Join("hall", connection="c1")) is None
    assert (rooms_told(one), rooms_told(two)) == ([(["hall"], [])], [])
    publish(desk.hub, event(10, rooms=["hall"]))
    assert ([f["to"] for f in take_frames(one)], take_frames(two)) == (["room:hall"], [])
    desk.execute(Leave("hall", connection="c1"))
    assert rooms_told(one) == [([], ["hall"])]
    assert desk.members.accounts_by_room == {}


def test_a_join_of_an_account_changes_all_of_its_connections(desk: Desk) -> None:
    one, two, bob = desk.here("c1"), desk.here("c2"), desk.here("c3", "bob")
    assert desk.execute(Join("hall", account="ann")) is not None
    assert [rooms_told(each) for each in (one, two, bob)] == [
        [(["hall"], [])],
        [(["hall"], [])],
        [],
    ]
    desk.execute(Leave("hall", account="ann"))
    assert [rooms_told(each) for each in (one, two, bob)] == [
        [([], ["hall"])],
        [([], ["hall"])],
        [],
    ]


def test_a_replaying_session_joins_and_leaves_too(desk: Desk) -> None:
    it = resumed_session(catch_up(desk.hub), cursor_at(0, 0))
    desk.execute(Join("hall", account="ann"))
    desk.execute(Join("yard", connection="c1"))
    assert set(it.rooms) == {"hall", "yard"}
    desk.execute(Disconnect(account="ann"))
    assert it.close_code is not None


def test_a_session_that_is_in_the_room_gets_no_frame(desk: Desk) -> None:
    it = desk.here("c1", rooms=["hall"])
    for told in (Join("hall", connection="c1"), Join("hall", account="ann")):
        desk.execute(told)
        desk.execute(told)
    assert (rooms_told(it), it.rooms) == ([], {"hall": ~MembershipSource(0)})


def test_each_source_leaves_separately_and_the_last_one_ends_the_membership(desk: Desk) -> None:
    it = desk.here("c1", rooms=["hall"])
    desk.execute(Join("hall", connection="c1"))
    desk.execute(Join("hall", account="ann"))
    desk.hub.unsubscribe(it, [], ["hall"])
    desk.execute(Leave("hall", connection="c1"))
    desk.execute(Leave("hall", connection="c1"))
    assert (rooms_told(it), it.rooms) == ([], {"hall": MembershipSource.ACCOUNT})
    desk.execute(Leave("hall", account="ann"))
    assert (rooms_told(it), it.rooms) == ([([], ["hall"])], {})


def test_a_leave_without_a_join_changes_nothing(desk: Desk) -> None:
    it = desk.here("c1", rooms=["hall"])
    desk.execute(Leave("hall", connection="c1"))
    desk.execute(Leave("hall", account="ann"))
    desk.execute(Leave("yard", connection="c1"))
    assert (rooms_told(it), it.rooms) == ([], {"hall": MembershipSource.OWN})


def test_a_later_session_starts_in_the_rooms_of_its_account(desk: Desk) -> None:
    for room in ("yard", "hall"):
        desk.execute(Join(room, account="ann"))
    desk.execute(Leave("yard", account="ann"))
    desk.execute(Join("attic", connection="c1"))  # it is not there yet
    it = session("c1", rooms=["own"])
    desk.backend.add_account_rooms(it)
    desk.hub.attach(it)
    (welcome,) = take_frames(it)
    assert welcome["rooms"] == ["hall", "own"]
    publish(desk.hub, event(10, rooms=["hall"]))
    assert [frame["to"] for frame in take_frames(it)] == ["room:hall"]


def test_a_session_without_account_starts_in_no_room(desk: Desk) -> None:
    desk.execute(Join("hall", account="ann"))
    it = session("c1", None)
    desk.backend.add_account_rooms(it)
    assert it.rooms == {}


# -- closing ---------------------------------------------------------------------------------------


def test_a_disconnect_closes_one_connection_and_discards_its_queue(desk: Desk) -> None:
    one, two = desk.here("c1"), desk.here("c2")
    publish(desk.hub, event(10, all=True))
    desk.execute(Disconnect(connection="c1"))
    publish(desk.hub, event(11, all=True))
    (closing,) = take_frames(one)
    assert (closing["code"], closing["reconnect"], closing["cursor"]) == (4504, False, None)
    assert closing["reason"] == DISCONNECTED.reason
    assert [frame["at"] for frame in take_frames(two)] == ["orders:0:10", "orders:0:11"]


def test_every_connection_of_an_account_is_closed(desk: Desk) -> None:
    all = [desk.here("c1"), desk.here("c2"), desk.here("c3", "bob")]
    desk.execute(Disconnect(account="ann", reason="so it is"))
    assert [each.is_welcomed for each in all] == [False, False, True]
    assert take_frames(all[0])[0]["reason"] == f"{DISCONNECTED.reason}: so it is"


def test_a_long_reason_is_truncated(desk: Desk) -> None:
    it = desk.here("c1")
    desk.execute(Disconnect(connection="c1", reason="x" * 81))
    assert take_frames(it)[0]["reason"] == f"{DISCONNECTED.reason}: {'x' * 80}"


def test_a_revocation_closes_sessions_with_older_tokens(desk: Desk) -> None:
    issued = {"old": NOON_SECONDS - 1, "new": NOON_SECONDS, "timeless": None}
    all = {
        name: desk.here(name, grant=Permissions("ann", issued_at=seconds))
        for name, seconds in issued.items()
    }
    bob = desk.here("c9", grant=Permissions("bob", issued_at=0.0))
    publish(desk.hub, event(10, all=True))
    assert desk.execute(Revoke("ann", NOON)) is not None
    assert {name: each.close_code for name, each in all.items()} == {
        "old": EXPIRED,
        "new": None,
        "timeless": EXPIRED,
    }
    assert bob.is_welcomed
    (closing,) = take_frames(all["old"])
    assert (closing["code"], closing["reconnect"]) == (4005, True)


@pytest.mark.parametrize(
    "it",
    [
        Disconnect("nobody"),
        Disconnect(account="nobody"),
        Drain("i1"),
        Join("hall", connection="nobody"),
        Leave("hall", account="nobody"),
        SetRoomTitle("hall", "Hall"),
        Revoke("nobody", NOON),
    ],
)
def test_a_command_about_others_changes_no_session(desk: Desk, it: Any) -> None:
    one = desk.here("c1", rooms=["hall"])
    desk.execute(it)
    assert (take_frames(one), one.is_welcomed, one.rooms) == (
        [],
        True,
        {"hall": MembershipSource.OWN},
    )
