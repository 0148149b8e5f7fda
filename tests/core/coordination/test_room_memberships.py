"""Durable effects of commands, whether read as commands or as state records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.coordination import state_records
from bridge.core.coordination.commands import Disconnect, Drain, Join, Leave, Revoke, SetRoomTitle
from bridge.core.coordination.room_memberships import Memberships
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


def durable_state(memberships: Memberships) -> dict[str, Any]:
    names = ("rooms_by_account", "accounts_by_room", "titles_by_room", "revoked_before_seconds")
    return {name: getattr(memberships, name) for name in names}


def after(*told: Command) -> Memberships:
    memberships = Memberships()
    for each in told:
        memberships.apply(each)
    return memberships


def state_record_of(key: bytes, value: bytes | None) -> state_records.StateRecord | Tombstone:
    return state_records.decode(record(value)._replace(key=key))


# -- commands --------------------------------------------------------------------------------------


def test_an_account_is_in_a_room_from_its_join_to_its_leave() -> None:
    memberships = after(Join("hall", account="ann"), Join("hall", account="bob"))
    assert memberships.rooms_by_account == {"ann": {"hall"}, "bob": {"hall"}}
    assert memberships.accounts_by_room == {"hall": {"ann", "bob"}}
    memberships.apply(Leave("hall", account="ann"))
    memberships.apply(Leave("yard", account="ann"))
    assert (memberships.rooms_by_account, memberships.accounts_by_room) == (
        {"bob": {"hall"}},
        {"hall": {"bob"}},
    )
    memberships.apply(Leave("hall", account="bob"))
    assert durable_state(memberships) == durable_state(Memberships())


def test_an_empty_title_removes_the_title() -> None:
    memberships = after(
        SetRoomTitle("hall", "One"), SetRoomTitle("hall", "Two"), SetRoomTitle("yard", "")
    )
    assert memberships.titles_by_room == {"hall": "Two"}
    assert memberships.apply(SetRoomTitle("hall", "")) == (b"title,hall", None)
    assert memberships.titles_by_room == {}


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
    memberships = Memberships()
    assert memberships.apply(it) is None
    assert durable_state(memberships) == durable_state(Memberships())


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
    memberships = after(Revoke("ann", "1970-01-01T00:01:40.500Z"))
    assert [memberships.is_revoked("ann", at) for at in (None, 0.0, 100.0, 100.4)] == [True] * 4
    assert [memberships.is_revoked("ann", at) for at in (100.5, 101.0)] == [False] * 2
    assert not memberships.is_revoked("bob", None)
    assert not memberships.is_revoked(None, None)


def test_an_earlier_revocation_changes_nothing() -> None:
    memberships = after(Revoke("ann", LATE))
    assert memberships.apply(Revoke("ann", EARLY)) == (
        b"revoked,ann",
        state_records.encode(TokenRevocation("ann", LATE)),
    )
    assert memberships.is_revoked("ann", timestamps.rfc3339_to_ms(NOON) / 1000)


# -- state records ---------------------------------------------------------------------------------


def test_state_records_without_durable_effects_change_nothing() -> None:
    memberships = Memberships()
    for fact in (
        alive_record(),
        present_record("c1", ("hall",)),
        state_records.Checkpoint(7),
        Tombstone("connection", ("c1",)),
    ):
        assert memberships.load(fact) is None
    assert durable_state(memberships) == durable_state(Memberships())


def test_state_records_restore_the_effects_of_commands() -> None:
    memberships = Memberships()
    for fact in (
        Membership("ann", "hall"),
        state_records.RoomTitle("hall", "One"),
        TokenRevocation("ann", NOON),
    ):
        assert memberships.load(fact) is None
    expected = after(Join("hall", account="ann"), SetRoomTitle("hall", "One"), Revoke("ann", NOON))
    assert durable_state(memberships) == durable_state(expected)
    memberships.load(Tombstone("member", ("ann", "hall")))
    memberships.load(Tombstone("title", ("hall",)))
    assert durable_state(memberships) == durable_state(after(Revoke("ann", NOON)))


def test_after_loading_state_records_are_ignored() -> None:
    memberships = after(Join("hall", account="ann"))
    memberships.finish_loading()
    memberships.apply(Leave("hall", account="ann"))
    memberships.load(Membership("ann", "hall"))  # of the earlier join
    assert memberships.rooms_by_account == {}
    memberships.apply(Join("yard", account="ann"))
    memberships.load(Tombstone("member", ("ann", "yard")))
    assert memberships.rooms_by_account == {"ann": {"yard"}}


def test_a_late_state_record_does_not_undo_a_command() -> None:
    memberships = after(
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
    assert [memberships.load(fact) for fact in before] == [None] * 5
    expected = after(Join("yard", account="ann"), SetRoomTitle("yard", "Y"))
    assert durable_state(memberships) == durable_state(expected)


def test_the_later_of_two_revocations_is_stored() -> None:
    memberships = after(Revoke("ann", EARLY))
    later = (b"revoked,ann", state_records.encode(TokenRevocation("ann", LATE)))
    assert memberships.load(TokenRevocation("ann", LATE)) == later
    assert memberships.revoked_before_seconds == after(Revoke("ann", LATE)).revoked_before_seconds


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
    # The state topic has the effects of the first `folded` commands. The control topic has
    # lost the first `lost` of those.
    writer = Memberships()
    written = [kept for each in told[:folded] if (kept := writer.apply(each)) is not None]
    facts = [*dict(written).items()] if compacted else [*written]
    log = told[min(lost, folded) :]
    memberships, left = Memberships(), dict[bytes, bytes | None]()
    for facts_turn in [*[False] * ahead, *turns, *[True] * len(facts), *[False] * len(log)]:
        if facts_turn and facts:
            again = memberships.load(state_record_of(*facts.pop(0)))
            left |= dict([again] if again is not None else [])
        elif not facts_turn and log:
            lasts = memberships.apply(log.pop(0))
            left |= dict([lasts] if lasts is not None else [])
    memberships.finish_loading()
    assert durable_state(memberships) == durable_state(after(*told))
    # The records that this instance writes, after the earlier ones, have the same effect.
    reader = Memberships()
    for key, value in (dict(written) | left).items():
        reader.load(state_record_of(key, value))
    assert durable_state(reader) == durable_state(memberships)


def test_stored_records_can_be_decoded() -> None:
    with pytest.raises(InvalidRecord):
        state_record_of(b"member,ann", None)
    for it in (Join("hall", account="ann"), SetRoomTitle("hall", "One"), Revoke("ann", NOON)):
        kept = Memberships().apply(it)
        assert kept is not None
        assert not isinstance(state_record_of(*kept), Tombstone)
