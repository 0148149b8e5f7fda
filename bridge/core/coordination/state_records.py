"""Records of the state topic, which Kafka compacts by key, and of the lifecycle topic.

Rule: the last state record of a key is valid. One without a value is a tombstone. So a reader from
the beginning has the full state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import InvalidRecord, describe_decode_error
from bridge.core.protocol.names import is_valid_name

if TYPE_CHECKING:
    from bridge.core.protocol.record import Record
    from bridge.core.sessions.session import Session

#: Close code of a connection that was lost with its instance (RFC 6455, 7.4.1).
ABNORMAL_CLOSURE: Final = 1006
_encode_notice: Final = msgspec.json.Encoder().encode


class LifecycleRecord(NamedTuple):
    """Keyed by account, room or topic."""

    key: bytes | None
    value: bytes


def connected_record(connection: ConnectionPresence) -> LifecycleRecord:
    """Return the record of a new connection."""
    return _record("connected", connection.account, **_connection_fields(connection))


def disconnected_record(
    connection: ConnectionPresence, code: int, reason: str = ""
) -> LifecycleRecord:
    """Return the record of a closed connection, with its close code and reason."""
    reason_field = {"reason": reason} if reason else {}
    return _record(
        "disconnected",
        connection.account,
        **_connection_fields(connection),
        code=code,
        **reason_field,
    )


def occupied_record(kind: str, name: str) -> LifecycleRecord:
    """Return the record of a "room" or "topic" that has its first connection on any instance."""
    return _record("occupied", name, **{kind: name})


def vacated_record(kind: str, name: str) -> LifecycleRecord:
    """Return the record of a "room" or "topic" that has no connection any more."""
    return _record("vacated", name, **{kind: name})


def _connection_fields(connection: ConnectionPresence) -> dict[str, Any]:
    account_field = {} if connection.account is None else {"account": connection.account}
    fields = {"connection": connection.id, **account_field, "instance": connection.instance}
    return {**fields, "address": connection.address} if connection.address else fields


def _record(event_type: str, key: str | None, **data: Any) -> LifecycleRecord:  # noqa: ANN401 - JSON
    return LifecycleRecord(
        None if key is None else key.encode(), _encode_notice({"type": event_type, "data": data})
    )


class Membership(msgspec.Struct, tag_field="is", tag="member"):
    """An account is in a room until a `Leave`."""

    account: str
    room: str


class RoomTitle(msgspec.Struct, tag_field="is", tag="title"):
    """The display name of a room."""

    room: str
    title: str


class TokenRevocation(msgspec.Struct, tag_field="is", tag="revoked"):
    """Tokens of an account issued before a time are refused."""

    account: str
    before: str


class InstanceHeartbeat(msgspec.Struct, tag_field="is", tag="instance"):
    """An instance runs. `boot` is a new id at each start. Times are RFC 3339."""

    instance: str
    boot: str
    since: str
    heard: str
    connections: int = 0
    ready: bool = True


class ConnectionPresence(msgspec.Struct, tag_field="is", tag="connection"):
    """A client is connected to one `boot` of an instance."""

    id: str
    instance: str
    boot: str
    account: str | None
    address: str
    since: str
    rooms: list[str] = []
    topics: list[str] = []
    types: list[str] | None = None


class Occupancy(msgspec.Struct, tag_field="is", tag="occupied"):
    """A room or topic was published as occupied."""

    kind: str
    name: str


class ConsumerGroup(msgspec.Struct, tag_field="is", tag="group"):
    """An instance commits its positions for a consumer group of its name."""

    instance: str


class Checkpoint(msgspec.Struct, tag_field="is", tag="folded"):
    """The effects of all commands below this offset of the control topic are stored."""

    offset: int


StateRecord: TypeAlias = (
    Membership
    | RoomTitle
    | TokenRevocation
    | InstanceHeartbeat
    | ConnectionPresence
    | Occupancy
    | ConsumerGroup
    | Checkpoint
)


def describe_connection(session: Session, instance: str, boot: str) -> ConnectionPresence:
    """Return the presence of a session of this instance."""
    return ConnectionPresence(
        session.id,
        instance,
        boot,
        session.permissions.account,
        session.client_address,
        timestamps.ms_to_rfc3339(int(session.connected_at * 1000)),
        sorted(session.rooms),
        sorted(session.topics),
        None if session.type_filter is None else list(session.type_filter.patterns),
    )


class Tombstone(NamedTuple):
    """A deleted record, by the parts of its key."""

    kind: str
    names: tuple[str, ...]


_decode: Final = msgspec.json.Decoder(StateRecord).decode
_encode: Final = msgspec.json.Encoder().encode
_MAX_OFFSET: Final = 2**63 - 1
#: Names in a key, besides the kind.
_KEY_NAME_COUNTS: Final = {
    "member": 2,
    "title": 1,
    "revoked": 1,
    "instance": 1,
    "connection": 1,
    "occupied": 2,
    "group": 1,
    "folded": 0,
}


def record_key(record: StateRecord) -> bytes:
    """Return the kind and the names, joined by commas."""
    match record:
        case Membership():
            parts: tuple[str, ...] = ("member", record.account, record.room)
        case RoomTitle():
            parts = ("title", record.room)
        case TokenRevocation():
            parts = ("revoked", record.account)
        case InstanceHeartbeat():
            parts = ("instance", record.instance)
        case ConnectionPresence():
            parts = ("connection", record.id)
        case Occupancy():
            parts = ("occupied", record.kind, record.name)
        case ConsumerGroup():
            parts = ("group", record.instance)
        case Checkpoint():
            parts = ("folded",)
    return ",".join(parts).encode()  # no name has a comma


def encode(record: StateRecord) -> bytes:
    """Return the value, in JSON."""
    return _encode(record)


class UnreadableRevocation(InvalidRecord):
    """A revocation whose time cannot be read. `revocation` counts as of its record's time.

    Without it, one wrong record would let revoked tokens in.
    """

    def __init__(self, revocation: TokenRevocation, message: str) -> None:
        super().__init__("bad_state", message)
        self.revocation = revocation


def decode(record: Record) -> StateRecord | Tombstone:
    """Return a state record, or a tombstone if the record has no value.

    Raises:
        InvalidRecord: If it is none of the bridge's, its key and value differ, or a name, a time or
            a number in it is wrong. `UnreadableRevocation` if that is the time of a revocation.
    """
    if record.value is None:
        return _decode_tombstone(record.key or b"")
    try:
        record.value.decode()  # msgspec does not check the encoding of fields that it ignores
        state_record: StateRecord = _decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRecord("bad_state", describe_decode_error(error)) from None
    if record_key(state_record) != record.key:
        raise InvalidRecord("bad_state", "the key does not match the value")
    _check_names(state_record)
    match state_record:
        case TokenRevocation(account):
            if not _is_time(state_record.before):
                revocation = TokenRevocation(account, timestamps.ms_to_rfc3339(record.timestamp))
                raise UnreadableRevocation(revocation, "before: not an RFC 3339 date-time")
        case InstanceHeartbeat(since=since, heard=heard) if not (
            _is_time(since) and _is_time(heard)
        ):
            raise InvalidRecord("bad_state", "since, heard: not RFC 3339 date-times")
        case ConnectionPresence(since=since) if not _is_time(since):
            raise InvalidRecord("bad_state", "since: not an RFC 3339 date-time")
        case Occupancy(kind=kind) if kind not in {"room", "topic"}:
            raise InvalidRecord("bad_state", "kind: not room or topic")
        case Checkpoint(offset=offset) if not 0 <= offset <= _MAX_OFFSET:
            raise InvalidRecord("bad_state", "offset: not an offset of Kafka")
        case _:
            pass
    return state_record


def _check_names(state_record: StateRecord) -> None:
    """Raise InvalidRecord if a name in the record breaks the rule for names."""
    names = [
        text
        for field in ("account", "room", "id", "instance", "name")
        if isinstance(text := getattr(state_record, field, None), str)
    ]
    if isinstance(state_record, ConnectionPresence):
        names += [*state_record.rooms, *state_record.topics]
    for name in names:
        if not is_valid_name(name):
            raise InvalidRecord("bad_state", "it has what is no name of 1 to 200 bytes")


def _is_time(text: str) -> bool:
    try:
        timestamps.rfc3339_to_ms(text)
    except ValueError:
        return False
    return True


def _decode_tombstone(raw_key: bytes) -> Tombstone:
    try:
        kind, *names = raw_key.decode().split(",")
    except UnicodeDecodeError:
        kind, names = "", []
    if _KEY_NAME_COUNTS.get(kind) != len(names):
        raise InvalidRecord("bad_state", "the key is not one of the bridge's")
    return Tombstone(kind, tuple(names))
