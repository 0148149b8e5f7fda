"""What backends have decided for good: the commands in their order, however they are learnt of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.coordination import state_records
from bridge.core.coordination.commands import Disconnect, Drain, Join, Leave, Revoke, SetRoomTitle
from bridge.core.coordination.membership import Memberships
from bridge.core.coordination.state_records import Membership, TokenRevocation, Tombstone
from bridge.core.protocol import timestamps
from bridge.core.protocol.event import InvalidRecord
from tests.core.factories import record
from tests.core.state_record_factories import alive_record, present_record
from tests.tiers import example_count

if TYPE_CHECKING:
    from bridge.core.coordination.commands import Command

EARLY, NOON, LATE = (f"2026-11-21T{hour}:00:00.000Z" for hour in ("09", "12", "15"))

accounts = st.sampled_from(["ann", "ann", "bob"])
rooms = st.sampled_from(["hall", "hall", "yard"])
commands = st.one_of(
    st.builds(lambda room, who: Join(room, account=who), rooms, accounts),
    st.builds(lambda room, who: Leave(room, account=who), rooms, accounts),
    st.builds(lambda room: Join(room, connection="c1"), rooms),
    st.builds(SetRoomTitle, rooms, st.sampled_from(["", "One", "Two"])),
    st.builds(Revoke, accounts, st.sampled_from([EARLY, NOON, LATE])),
    st.just(Disconnect(account="ann")),
)


def known(members: Memberships) -> dict[str, Any]:
    names = ("rooms_by_account", "accounts_by_room", "titles_by_room", "revoked_before_seconds")
    return {name: getattr(members, name) for name in names}


def obeying(*told: Command) -> Memberships:
    members = Memberships()
    for each in told:
        members.apply(each)
    return members


def stored(key: bytes, value: bytes | None) -> state_records.StateRecord | Tombstone:
    return state_records.decode(record(value)._replace(key=key))


# -- commands --------------------------------------------------------------------------------------


def test_an_account_is_in_a_room_from_its_join_to_its_leave() -> None:
    members = obeying(Join("hall", account="ann"), Join("hall", account="bob"))
    assert members.rooms_by_account == {"ann": {"hall"}, "bob": {"hall"}}
    assert members.accounts_by_room == {"hall": {"ann", "bob"}}
    members.apply(Leave("hall", account="ann"))
    members.apply(Leave("yard", account="ann"))
    assert (members.rooms_by_account, members.accounts_by_room) == (
        {"bob": {"hall"}},
        {"hall": {"bob"}},
    )
    members.apply(Leave("hall", account="bob"))
    assert known(members) == known(Memberships())


def test_an_empty_title_removes_the_title() -> None:
    members = obeying(
        SetRoomTitle("hall", "One"), SetRoomTitle("hall", "Two"), SetRoomTitle("yard", "")
    )
    assert members.titles_by_room == {"hall": "Two"}
    assert members.apply(SetRoomTitle("hall", "")) == (b"title,hall", None)
    assert members.titles_by_room == {}


@pytest.mark.parametrize(
    "it",
    [
        Join("hall", connection="c1"),
        Leave("hall", connection="c1"),
        Disconnect("c1"),
        Disconnect(account="ann"),
        Drain("i1"),
    ],
)
def test_a_command_without_durable_effects_changes_nothing(it: Command) -> None:
    members = Memberships()
    assert members.apply(it) is None
    assert known(members) == known(Memberships())


@pytest.mark.parametrize(
    ("it", "key", "fact"),
    [
        (Join("r", account="ann"), b"member,ann,r", state_records.Membership("ann", "r")),
        (Leave("r", account="ann"), b"member,ann,r", None),
        (SetRoomTitle("r", "t"), b"title,r", state_records.RoomTitle("r", "t")),
        (Revoke("ann", NOON), b"revoked,ann", state_records.TokenRevocation("ann", NOON)),
    ],
)
def test_durable_effects_have_a_key_and_value(
    it: Any, key: bytes, fact: state_records.StateRecord | None
) -> None:
    assert Memberships().apply(it) == (key, None if fact is None else state_records.encode(fact))


def test_a_token_issued_before_the_revocation_or_without_time_is_refused() -> None:
    members = obeying(Revoke("ann", "1970-01-01T00:01:40.500Z"))
    assert [members.is_revoked("ann", at) for at in (None, 0.0, 100.0, 100.4)] == [True] * 4
    assert [members.is_revoked("ann", at) for at in (100.5, 101.0)] == [False] * 2
    assert not members.is_revoked("bob", None)
    assert not members.is_revoked(None, None)


def test_an_earlier_revocation_changes_nothing() -> None:
    members = obeying(Revoke("ann", LATE))
    assert members.apply(Revoke("ann", EARLY)) == (
        b"revoked,ann",
        state_records.encode(TokenRevocation("ann", LATE)),
    )
    assert members.is_revoked("ann", timestamps.rfc3339_to_ms(NOON) / 1000)


# -- facts -----------------------------------------------------------------------------------------


def test_state_records_without_durable_effects_change_nothing() -> None:
    members = Memberships()
    for fact in (
        alive_record(),
        present_record("c1", ("hall",)),
        state_records.Checkpoint(7),
        Tombstone("connection", ("c1",)),
    ):
        assert members.load(fact) is None
    assert known(members) == known(Memberships())


def test_state_records_restore_the_effects_of_commands() -> None:
    members = Memberships()
    for fact in (
        Membership("ann", "hall"),
        state_records.RoomTitle("hall", "One"),
        TokenRevocation("ann", NOON),
    ):
        assert members.load(fact) is None
    expected = obeying(
        Join("hall", account="ann"), SetRoomTitle("hall", "One"), Revoke("ann", NOON)
    )
    assert known(members) == known(expected)
    members.load(Tombstone("member", ("ann", "hall")))
    members.load(Tombstone("title", ("hall",)))
    assert known(members) == known(obeying(Revoke("ann", NOON)))


def test_after_loading_state_records_are_ignored() -> None:
    members = obeying(Join("hall", account="ann"))
    members.finish_loading()
    members.apply(Leave("hall", account="ann"))
    members.load(Membership("ann", "hall"))  # of the join before
    assert members.rooms_by_account == {}
    members.apply(Join("yard", account="ann"))
    members.load(Tombstone("member", ("ann", "yard")))
    assert members.rooms_by_account == {"ann": {"yard"}}


def test_a_late_state_record_does_not_undo_a_command() -> None:
    members = obeying(
        Leave("hall", account="ann"),
        SetRoomTitle("hall", ""),
        Join("yard", account="ann"),
        SetRoomTitle("yard", "Y"),
    )
    before: list[state_records.StateRecord | Tombstone] = [
        Membership("ann", "hall"),
        state_records.RoomTitle("hall", "H"),
        state_records.RoomTitle("yard", "Old"),
        Tombstone("member", ("ann", "yard")),
        Tombstone("title", ("yard",)),
    ]
    assert [members.load(fact) for fact in before] == [None] * 5
    expected = obeying(Join("yard", account="ann"), SetRoomTitle("yard", "Y"))
    assert known(members) == known(expected)


def test_the_later_of_two_revocations_is_stored() -> None:
    members = obeying(Revoke("ann", EARLY))
    later = (b"revoked,ann", state_records.encode(TokenRevocation("ann", LATE)))
    assert members.load(TokenRevocation("ann", LATE)) == later
    assert members.revoked_before_seconds == obeying(Revoke("ann", LATE)).revoked_before_seconds


@settings(max_examples=example_count(300))
@given(
    st.lists(commands, max_size=12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 12),
    st.lists(st.booleans(), max_size=12),
    st.booleans(),
)
def test_state_records_and_commands_in_any_order_equal_all_commands(
    told: list[Command],
    folded: int,
    lost: int,
    ahead: int,
    turns: list[bool],
    compacted: bool,
) -> None:
    # What lasts of the first `folded` commands is in the state topic, and the first `lost` of
    # those are not in the control topic any more.
    writer = Memberships()
    written = [kept for each in told[:folded] if (kept := writer.apply(each)) is not None]
    facts = [*dict(written).items()] if compacted else [*written]
    log = told[min(lost, folded) :]
    members, left = Memberships(), dict[bytes, bytes | None]()
    for facts_turn in [*[False] * ahead, *turns, *[True] * len(facts), *[False] * len(log)]:
        if facts_turn and facts:
            again = members.load(stored(*facts.pop(0)))
            left |= dict([again] if again is not None else [])
        elif not facts_turn and log:
            lasts = members.apply(log.pop(0))
            left |= dict([lasts] if lasts is not None else [])
    members.finish_loading()
    assert known(members) == known(obeying(*told))
    # And what this instance would write says it too, on top of what was written before.
    reader = Memberships()
    for key, value in (dict(written) | left).items():
        reader.load(stored(key, value))
    assert known(reader) == known(members)


def test_stored_records_can_be_decoded() -> None:
    with pytest.raises(InvalidRecord):
        stored(b"member,ann", None)
    for it in (Join("hall", account="ann"), SetRoomTitle("hall", "One"), Revoke("ann", NOON)):
        kept = Memberships().apply(it)
        assert kept is not None
        assert not isinstance(stored(*kept), Tombstone)
