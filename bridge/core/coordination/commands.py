"""Commands of backends to all instances: the records of the control topic.

Rule: an invalid command is rejected as a whole, with a reason. Unknown fields are ignored, so that
backends may be upgraded before the bridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import InvalidRecord, describe_decode_error
from bridge.core.protocol.names import is_valid_name

if TYPE_CHECKING:
    from bridge.core.protocol.record import Record

#: A close frame holds 123 bytes of UTF-8 (RFC 6455, 5.5.1), and our own reason comes first.
MAX_REASON_CHARACTERS: Final = 80
#: A title is stored for good in memory and in the state topic, so it must stay small.
MAX_TITLE_CHARACTERS: Final = 200


class Join(msgspec.Struct, tag_field="do", tag="join", omit_defaults=True):
    """Add a connection to a room until it closes, or an account until a `Leave`."""

    room: str
    connection: str | None = None
    account: str | None = None


class Leave(msgspec.Struct, tag_field="do", tag="leave", omit_defaults=True):
    """Undo a `Join` of the same room and the same connection or account."""

    room: str
    connection: str | None = None
    account: str | None = None


class Disconnect(msgspec.Struct, tag_field="do", tag="disconnect", omit_defaults=True):
    """Close a connection, or all connections of an account."""

    connection: str | None = None
    account: str | None = None
    reason: str | None = None


class Revoke(msgspec.Struct, tag_field="do", tag="revoke", omit_defaults=True):
    """Refuse tokens of an account issued before a time. Default: the time of the record."""

    account: str
    before: str | None = None


class SetRoomTitle(msgspec.Struct, tag_field="do", tag="title"):
    """Set the display name of a room. An empty title removes it."""

    room: str
    title: str


class Drain(msgspec.Struct, tag_field="do", tag="drain"):
    """Drain an instance, as SIGTERM does."""

    instance: str


Command: TypeAlias = Join | Leave | Disconnect | Revoke | SetRoomTitle | Drain
#: Commands with effects that outlive an instance. They are stored in the state topic.
DURABLE_COMMANDS: Final = (Join, Leave, Revoke, SetRoomTitle)

_decode: Final = msgspec.json.Decoder(Command).decode
_encode: Final = msgspec.json.Encoder().encode


def decode(record: Record, max_bytes: int) -> Command:
    """Return a validated command. A revocation always has its time set.

    Raises:
        InvalidRecord: If it is no command, or its value has more than `max_bytes` bytes.
    """
    value = record.value or b""
    if len(value) > max_bytes:
        raise InvalidRecord("too_large", f"the value has {len(value)} bytes, more than {max_bytes}")
    try:
        value.decode()
        command: Command = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord("bad_command", describe_decode_error(error)) from None
    for name in ("room", "connection", "account", "instance"):
        text = getattr(command, name, None)
        if text is not None and not is_valid_name(text):
            raise InvalidRecord("bad_name", f"{name}: not a name of 1 to 200 bytes")
    match command:
        case Join() | Leave() | Disconnect():
            if (command.connection is None) == (command.account is None):
                raise InvalidRecord("bad_command", "set either connection or account, not both")
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
    except ValueError:
        raise InvalidRecord("bad_time", "before: not an RFC 3339 date-time") from None


def encode(command: Command) -> bytes:
    """Return the value of its record."""
    return _encode(command)


def record_key(command: Command) -> bytes:
    """Return the account, connection, room or instance that it is about."""
    for name in ("account", "connection", "room", "instance"):
        text = getattr(command, name, None)
        if text is not None:
            return str(text).encode()
    raise AssertionError(command)
