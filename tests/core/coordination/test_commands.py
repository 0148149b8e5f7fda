"""Valid and invalid records of the control topic."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.coordination import commands
from bridge.core.coordination.commands import (
    Command,
    Disconnect,
    Drain,
    Join,
    Leave,
    Revoke,
    SetRoomTitle,
)
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.names import is_valid_name
from tests.core.factories import TIMESTAMP_TEXT, record
from tests.core.state_record_factories import names, timestamp_texts
from tests.core.strategies import corrupted, json_object, texts

LIMIT = 2000


def read(value: bytes | dict[str, Any] | None) -> Command:
    return commands.decode(record(value), LIMIT)


def rejection(value: bytes | dict[str, Any] | None) -> InvalidRecord:
    with pytest.raises(InvalidRecord) as dead:
        read(value)
    return dead.value


# -- valid -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"do": "join", "room": "r", "account": "ann"}, Join("r", account="ann")),
        ({"do": "join", "room": "r", "connection": "c1"}, Join("r", connection="c1")),
        ({"do": "leave", "room": "r", "account": "ann"}, Leave("r", account="ann")),
        ({"do": "leave", "room": "r", "connection": "c1"}, Leave("r", connection="c1")),
        ({"do": "disconnect", "account": "ann"}, Disconnect(account="ann")),
        (
            {"do": "disconnect", "connection": "c1", "reason": "so"},
            Disconnect(connection="c1", reason="so"),
        ),
        ({"do": "title", "room": "r", "title": "Room"}, SetRoomTitle("r", "Room")),
        ({"do": "title", "room": "r", "title": ""}, SetRoomTitle("r", "")),
        ({"do": "title", "room": "r", "title": "x" * 200}, SetRoomTitle("r", "x" * 200)),
        ({"do": "title", "room": "r", "title": "é" * 200}, SetRoomTitle("r", "é" * 200)),
        ({"do": "drain", "instance": "i1"}, Drain("i1")),
    ],
)
def test_a_command_is_decoded(fields: dict[str, Any], command: Command) -> None:
    assert read(fields) == command


@pytest.mark.parametrize(
    ("before", "utc"),
    [
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z"),
        ("2026-11-21T10:00:00.50+01:00", "2026-11-21T09:00:00.50Z"),
        (None, TIMESTAMP_TEXT),
    ],
)
def test_the_time_of_a_revocation_is_utc_and_defaults_to_the_records(
    before: str | None, utc: str
) -> None:
    assert read({"do": "revoke", "account": "ann", "before": before}) == Revoke("ann", utc)
    assert read({"do": "revoke", "account": "ann"}) == Revoke("ann", TIMESTAMP_TEXT)


def test_null_is_absent_and_unknown_fields_are_ignored() -> None:
    fields = {"do": "disconnect", "account": "ann", "connection": None, "reason": None, "by": [1]}
    assert read(fields) == Disconnect(account="ann")


def test_fields_may_have_any_order() -> None:
    assert read(b'{"account": "ann", "room": "r", "do": "join"}') == Join("r", account="ann")


# -- invalid ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"nonsense", b"{", b"\xff", b"[]", b"7", b"null", b'"join"', b"[" * 1900),
        *({}, {"do": None}, {"do": 1}, {"do": "Join"}, {"do": "kick", "account": "ann"}),
        b'{"do": "drain", "instance": "i", "x": "\xff"}',
        b'{"do": "drain", "instance": "i"} {}',
        b'{"do": "disconnect", "account": "a", "reason": "\\ud800"}',
        {"do": "join", "room": "r"},
        {"do": "join", "account": "ann"},
        {"do": "join", "room": None, "account": "ann"},
        {"do": "join", "room": "r", "account": "ann", "connection": "c1"},
        {"do": "leave", "room": "r", "account": ["ann"]},
        {"do": "disconnect"},
        {"do": "disconnect", "account": "ann", "connection": "c1"},
        {"do": "disconnect", "account": "ann", "reason": 7},
        {"do": "revoke"},
        {"do": "revoke", "account": "ann", "before": 1795000000},
        {"do": "title", "room": "r"},
        {"do": "title", "room": "r", "title": None},
        {"do": "title", "room": "r", "title": "x" * 201},
        {"do": "drain"},
    ],
)
def test_an_invalid_command_is_rejected(value: Any) -> None:
    assert rejection(value).reason == "bad_command"


@pytest.mark.parametrize("name", ["", "a,b", "a*", "\n", "\x85", "x" * 201, "é" * 101])
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"do": "join", "account": "ann"}, "room"),
        ({"do": "join", "room": "r"}, "account"),
        ({"do": "leave", "room": "r"}, "connection"),
        ({"do": "disconnect"}, "account"),
        ({"do": "disconnect"}, "connection"),
        ({"do": "revoke"}, "account"),
        ({"do": "title", "title": "t"}, "room"),
        ({"do": "drain"}, "instance"),
    ],
)
def test_an_invalid_name_is_rejected_with_its_field(
    fields: dict[str, Any], field: str, name: str
) -> None:
    dead = rejection({**fields, field: name})
    assert dead.reason == "bad_name"
    assert str(dead).startswith(f"{field}: ")


@pytest.mark.parametrize("before", ["yesterday", "", "2026-11-21", "2026-02-30T00:00:00Z"])
def test_an_invalid_time_is_rejected(before: str) -> None:
    assert rejection({"do": "revoke", "account": "ann", "before": before}).reason == "bad_time"


def test_a_too_large_command_is_rejected() -> None:
    value = b'{"do": "drain", "instance": "i1"}'
    assert read(value + b" " * (LIMIT - len(value))) == Drain("i1")
    assert rejection(value + b" " * (LIMIT - len(value) + 1)).reason == "too_large"


# -- encode and decode -----------------------------------------------------------------------------

sentences = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
by = st.sampled_from(["account", "connection"])
right = st.one_of(
    st.builds(
        lambda kind, room, by, who: kind(room, **{by: who}),
        st.sampled_from([Join, Leave]),
        names,
        by,
        names,
    ),
    st.builds(
        lambda by, who, why: Disconnect(**{by: who}, reason=why), by, names, st.none() | sentences
    ),
    st.builds(Revoke, names, timestamp_texts),
    st.builds(SetRoomTitle, names, sentences),
    st.builds(Drain, names),
)


@given(right)
def test_encoding_and_decoding_changes_nothing(command: Command) -> None:
    assert commands.decode(record(commands.encode(command)), 10_000) == command
    assert is_valid_name(commands.record_key(command).decode())


@given(corrupted(right.map(commands.encode)))
def test_any_bytes_are_a_command_or_an_invalid_record(value: bytes) -> None:
    try:
        command = commands.decode(record(value), 10_000)
    except InvalidRecord:
        return
    assert isinstance(command, get_args(Command))
    assert commands.decode(record(commands.encode(command)), 10_000) == command


@given(st.dictionaries(st.sampled_from(["do", "room", "account", "title", "x"]), texts.map(repr)))
def test_only_invalid_record_is_raised(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidRecord):
        read(json_object(fields))


def test_commands_about_one_account_connection_room_or_instance_have_one_key() -> None:
    assert (
        commands.record_key(Join("r", account="ann"))
        == commands.record_key(Revoke("ann"))
        == b"ann"
    )
    assert (
        commands.record_key(Join("r", connection="c1"))
        == commands.record_key(Disconnect("c1"))
        == b"c1"
    )
    assert (commands.record_key(SetRoomTitle("r", "t")), commands.record_key(Drain("i1"))) == (
        b"r",
        b"i1",
    )
