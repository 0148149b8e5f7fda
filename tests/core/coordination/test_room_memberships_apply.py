"""Effects of commands on the sessions of this instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.coordination.commands import Disconnect, Drain, Join, Leave, Revoke, SetRoomTitle
from bridge.core.coordination.room_memberships import CommandExecutor, Memberships
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


class CommandHarness:
    """A hub to which commands are applied."""

    def __init__(self) -> None:
        self.hub: Hub = hub()
        self.memberships = Memberships()
        self.executor = CommandExecutor(self.hub, self.memberships)

    def execute(self, command: Command) -> tuple[bytes, bytes | None] | None:
        kept = self.memberships.apply(command)
        self.executor.apply(command)
        return kept

    def attach(self, id: str, account: str | None = "ann", **asked: Any) -> Session:
        return attached_session(self.hub, id, account, **asked)


@pytest.fixture
def harness() -> CommandHarness:
    return CommandHarness()


def room_frames(of: Session) -> list[tuple[list[str], list[str]]]:
    told = take_frames(of)
    assert all(frame["op"] == "rooms" for frame in told)
    return [(frame["joined"], frame["left"]) for frame in told]


# -- rooms -----------------------------------------------------------------------------------------


def test_a_join_of_a_connection_changes_it_alone(harness: CommandHarness) -> None:
    one, two = harness.attach("c1"), harness.attach("c2")
    assert harness.execute(Join("hall", connection="c1")) is None
    assert (room_frames(one), room_frames(two)) == ([(["hall"], [])], [])
    publish(harness.hub, event(10, rooms=["hall"]))
    assert ([f["to"] for f in take_frames(one)], take_frames(two)) == (["room:hall"], [])
    harness.execute(Leave("hall", connection="c1"))
    assert room_frames(one) == [([], ["hall"])]
    assert harness.memberships.accounts_by_room == {}


def test_a_join_of_an_account_changes_all_of_its_connections(harness: CommandHarness) -> None:
    one, two, bob = harness.attach("c1"), harness.attach("c2"), harness.attach("c3", "bob")
    assert harness.execute(Join("hall", account="ann")) is not None
    assert [room_frames(each) for each in (one, two, bob)] == [
        [(["hall"], [])],
        [(["hall"], [])],
        [],
    ]
    harness.execute(Leave("hall", account="ann"))
    assert [room_frames(each) for each in (one, two, bob)] == [
        [([], ["hall"])],
        [([], ["hall"])],
        [],
    ]


def test_a_replaying_session_joins_and_leaves_too(harness: CommandHarness) -> None:
    it = resumed_session(catch_up(harness.hub), cursor_at(0, 0))
    harness.execute(Join("hall", account="ann"))
    harness.execute(Join("yard", connection="c1"))
    assert set(it.rooms) == {"hall", "yard"}
    harness.execute(Disconnect(account="ann"))
    assert it.close_code is not None


def test_a_session_that_is_in_the_room_gets_no_frame(harness: CommandHarness) -> None:
    it = harness.attach("c1", rooms=["hall"])
    for told in (Join("hall", connection="c1"), Join("hall", account="ann")):
        harness.execute(told)
        harness.execute(told)
    assert (room_frames(it), it.rooms) == ([], {"hall": ~MembershipSource(0)})


def test_each_source_leaves_separately_and_the_last_one_ends_the_membership(
    harness: CommandHarness,
) -> None:
    it = harness.attach("c1", rooms=["hall"])
    harness.execute(Join("hall", connection="c1"))
    harness.execute(Join("hall", account="ann"))
    harness.hub.unsubscribe(it, [], ["hall"])
    harness.execute(Leave("hall", connection="c1"))
    harness.execute(Leave("hall", connection="c1"))
    assert (room_frames(it), it.rooms) == ([], {"hall": MembershipSource.ACCOUNT})
    harness.execute(Leave("hall", account="ann"))
    assert (room_frames(it), it.rooms) == ([([], ["hall"])], {})


def test_a_leave_without_a_join_changes_nothing(harness: CommandHarness) -> None:
    it = harness.attach("c1", rooms=["hall"])
    harness.execute(Leave("hall", connection="c1"))
    harness.execute(Leave("hall", account="ann"))
    harness.execute(Leave("yard", connection="c1"))
    assert (room_frames(it), it.rooms) == ([], {"hall": MembershipSource.OWN})


def test_a_later_session_starts_in_the_rooms_of_its_account(harness: CommandHarness) -> None:
    for room in ("yard", "hall"):
        harness.execute(Join(room, account="ann"))
    harness.execute(Leave("yard", account="ann"))
    harness.execute(Join("attic", connection="c1"))  # it is not connected yet
    it = session("c1", rooms=["own"])
    harness.executor.add_account_rooms(it)
    harness.hub.attach(it)
    (welcome,) = take_frames(it)
    assert welcome["rooms"] == ["hall", "own"]
    publish(harness.hub, event(10, rooms=["hall"]))
    assert [frame["to"] for frame in take_frames(it)] == ["room:hall"]


def test_a_session_without_account_starts_in_no_room(harness: CommandHarness) -> None:
    harness.execute(Join("hall", account="ann"))
    it = session("c1", None)
    harness.executor.add_account_rooms(it)
    assert it.rooms == {}


# -- closing ---------------------------------------------------------------------------------------


def test_a_disconnect_closes_one_connection_and_discards_its_queue(harness: CommandHarness) -> None:
    one, two = harness.attach("c1"), harness.attach("c2")
    publish(harness.hub, event(10, all=True))
    harness.execute(Disconnect(connection="c1"))
    publish(harness.hub, event(11, all=True))
    (closing,) = take_frames(one)
    assert (closing["code"], closing["reconnect"], closing["cursor"]) == (4504, False, None)
    assert closing["reason"] == DISCONNECTED.reason
    assert [frame["at"] for frame in take_frames(two)] == ["orders:0:10", "orders:0:11"]


def test_every_connection_of_an_account_is_closed(harness: CommandHarness) -> None:
    all = [harness.attach("c1"), harness.attach("c2"), harness.attach("c3", "bob")]
    harness.execute(Disconnect(account="ann", reason="so it is"))
    assert [each.is_welcomed for each in all] == [False, False, True]
    assert take_frames(all[0])[0]["reason"] == f"{DISCONNECTED.reason}: so it is"


def test_a_long_reason_is_truncated(harness: CommandHarness) -> None:
    it = harness.attach("c1")
    harness.execute(Disconnect(connection="c1", reason="x" * 81))
    assert take_frames(it)[0]["reason"] == f"{DISCONNECTED.reason}: {'x' * 80}"


def test_a_revocation_closes_sessions_with_older_tokens(harness: CommandHarness) -> None:
    issued = {"old": NOON_SECONDS - 1, "new": NOON_SECONDS, "timeless": None}
    all = {
        name: harness.attach(name, grant=Permissions("ann", issued_at=seconds))
        for name, seconds in issued.items()
    }
    bob = harness.attach("c9", grant=Permissions("bob", issued_at=0.0))
    publish(harness.hub, event(10, all=True))
    assert harness.execute(Revoke("ann", NOON)) is not None
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
def test_a_command_about_others_changes_no_session(harness: CommandHarness, it: Any) -> None:
    one = harness.attach("c1", rooms=["hall"])
    harness.execute(it)
    assert (take_frames(one), one.is_welcomed, one.rooms) == (
        [],
        True,
        {"hall": MembershipSource.OWN},
    )
