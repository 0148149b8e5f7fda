"""What a backend tells every instance to do: the records of the control topic.

Rule: a command is whole and right, or dead with a reason; nothing of a wrong one is done. Fields
that are not known here are passed over, so that backends may be upgraded first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.names import is_valid_name

if TYPE_CHECKING:
    from bridge.core.protocol.envelope import Record

#: A close frame holds 123 bytes of UTF-8 (RFC 6455, 5.5.1), and our own words come first.
MAX_REASON_CHARACTERS: Final = 80
#: A title is kept for good, and written anew by others, so it is no place for documents.
MAX_TITLE_CHARACTERS: Final = 200


class Join(msgspec.Struct, tag_field="do", tag="join", omit_defaults=True):
    """Put a connection into a room for as long as it lives, or an account for good."""

    room: str
    connection: str | None = None
    account: str | None = None


class Leave(msgspec.Struct, tag_field="do", tag="leave", omit_defaults=True):
    """Take back what a `Join` of the same room and the same connection or account gave."""

    room: str
    connection: str | None = None
    account: str | None = None


class Disconnect(msgspec.Struct, tag_field="do", tag="disconnect", omit_defaults=True):
    """Close a connection, or all of an account."""

    connection: str | None = None
    account: str | None = None
    reason: str | None = None


class Revoke(msgspec.Struct, tag_field="do", tag="revoke", omit_defaults=True):
    """Refuse tokens of an account that were issued before a time; by default, now."""

    account: str
    before: str | None = None


class SetRoomTitle(msgspec.Struct, tag_field="do", tag="title"):
    """Say what a room is called for people to read; an empty title is none."""

    room: str
    title: str


class Drain(msgspec.Struct, tag_field="do", tag="drain"):
    """Let an instance leave, as SIGTERM does."""

    instance: str


Command: TypeAlias = Join | Leave | Disconnect | Revoke | SetRoomTitle | Drain
#: Those that outlive the instances: they are kept in the state topic.
DURABLE_COMMANDS: Final = (Join, Leave, Revoke, SetRoomTitle)

_decode: Final = msgspec.json.Decoder(Command).decode
_encode: Final = msgspec.json.Encoder().encode


def decode(record: Record, max_bytes: int) -> Command:
    """Return the command that `record` is. The time of a revocation is always there.

    Raises:
        Dead: If it is none, or its value has more than `max_bytes` bytes.
    """
    value = record.value or b""
    if len(value) > max_bytes:
        raise InvalidRecord("too_large", f"the value has {len(value)} bytes, more than {max_bytes}")
    try:
        value.decode()
        command: Command = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord("bad_command", str(error)) from None
    for name in ("room", "connection", "account", "instance"):
        text = getattr(command, name, None)
        if text is not None and not is_valid_name(text):
            raise InvalidRecord("bad_name", f"{name}: not a name of 1 to 200 bytes: {text[:200]!r}")
    match command:
        case Join() | Leave() | Disconnect():
            if (command.connection is None) == (command.account is None):
                raise InvalidRecord(
                    "bad_command", "one of connection and account, not both or none"
                )
        case Revoke():
            command.before = _revocation_time(command, record)
        case SetRoomTitle(title=title) if len(title) > MAX_TITLE_CHARACTERS:
            raise InvalidRecord(
                "bad_command", f"title: more than {MAX_TITLE_CHARACTERS} characters"
            )
        case _:
            pass
    return command


def _revocation_time(command: Revoke, record: Record) -> str:
    if command.before is None:
        return timestamps.ms_to_rfc3339(record.timestamp)
    try:
        return timestamps.rfc3339_to_utc(command.before)
    except ValueError as error:
        raise InvalidRecord("bad_time", f"before: {error}") from None


def encode(command: Command) -> bytes:
    """Return `command` as the value of a record."""
    return _encode(command)


def record_key(command: Command) -> bytes:
    """Return the key of its record: commands about one thing stay in order."""
    for name in ("account", "connection", "room", "instance"):
        text = getattr(command, name, None)
        if text is not None:
            return str(text).encode()
    raise AssertionError(command)
