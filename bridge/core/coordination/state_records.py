"""What outlives an instance: the records of the state topic, which Kafka compacts by key.

Rule: one record is one fact, and its key says which; the last record of a key is what holds, and
one without a value takes the fact back. So whoever reads the topic from its beginning knows all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import Dead

if TYPE_CHECKING:
    from bridge.core.protocol.envelope import Record
    from bridge.core.sessions.session import Session

#: The code of one that was lost with its instance (RFC 6455, 7.4.1: closed abnormally).
LOST: Final = 1006
_encode_notice: Final = msgspec.json.Encoder().encode


class Notice(NamedTuple):
    """A record of the lifecycle topic, keyed by account, room or topic."""

    key: bytes | None
    value: bytes


def connected(present: Present) -> Notice:
    """Say that a client has come."""
    return _notice("connected", present.account, **_about(present))


def disconnected(present: Present, code: int, reason: str = "") -> Notice:
    """Say that a client has gone, with the code and reason of its close."""
    told = {"reason": reason} if reason else {}
    return _notice("disconnected", present.account, **_about(present), code=code, **told)


def occupied(kind: str, name: str) -> Notice:
    """Say that a "room" or "topic" has got its first connection anywhere."""
    return _notice("occupied", name, **{kind: name})


def vacated(kind: str, name: str) -> Notice:
    """Say that a "room" or "topic" has been empty for a while."""
    return _notice("vacated", name, **{kind: name})


def _about(present: Present) -> dict[str, Any]:
    account = {} if present.account is None else {"account": present.account}
    about = {"connection": present.id, **account, "instance": present.instance}
    return {**about, "address": present.address} if present.address else about


def _notice(type: str, key: str | None, **data: Any) -> Notice:  # noqa: ANN401 - JSON
    return Notice(
        None if key is None else key.encode(), _encode_notice({"type": type, "data": data})
    )


class Member(msgspec.Struct, tag_field="is", tag="member"):
    """An account that is in a room until a leave."""

    account: str
    room: str


class Title(msgspec.Struct, tag_field="is", tag="title"):
    """What a room is called."""

    room: str
    title: str


class Revoked(msgspec.Struct, tag_field="is", tag="revoked"):
    """An account whose tokens from before a time are refused."""

    account: str
    before: str


class Alive(msgspec.Struct, tag_field="is", tag="instance"):
    """An instance that runs. `boot` is another one at each start; times are RFC 3339."""

    instance: str
    boot: str
    since: str
    heard: str
    connections: int = 0
    ready: bool = True


class Present(msgspec.Struct, tag_field="is", tag="connection"):
    """A client that is connected to an instance, in one `boot` of it."""

    id: str
    instance: str
    boot: str
    account: str | None
    address: str
    since: str
    rooms: list[str] = []
    topics: list[str] = []
    types: list[str] | None = None


class Occupied(msgspec.Struct, tag_field="is", tag="occupied"):
    """A room or a topic of which backends were told that somebody is there."""

    kind: str
    name: str


class Folded(msgspec.Struct, tag_field="is", tag="folded"):
    """Up to which offset of the control topic what lasts of its commands is kept here."""

    offset: int


Fact: TypeAlias = Member | Title | Revoked | Alive | Present | Occupied | Folded


def present(session: Session, instance: str, boot: str) -> Present:
    """Return what is to be known of `session`, which is connected to this boot of `instance`."""
    return Present(
        session.id,
        instance,
        boot,
        session.grant.account,
        session.address,
        timestamps.from_ms(int(session.since * 1000)),
        sorted(session.rooms),
        sorted(session.topics),
        None if session.types is None else list(session.types.wanted),
    )


class Gone(NamedTuple):
    """A fact that was taken back: the parts of its key."""

    kind: str
    names: tuple[str, ...]


_read: Final = msgspec.json.Decoder(Fact).decode
_write: Final = msgspec.json.Encoder().encode
#: Of how many names each key is made, besides the kind.
_NAMES: Final = {
    "member": 2,
    "title": 1,
    "revoked": 1,
    "instance": 1,
    "connection": 1,
    "occupied": 2,
    "folded": 0,
}


def key(fact: Fact) -> bytes:
    """Return the key of the record of `fact`."""
    match fact:
        case Member():
            names: tuple[str, ...] = ("member", fact.account, fact.room)
        case Title():
            names = ("title", fact.room)
        case Revoked():
            names = ("revoked", fact.account)
        case Alive():
            names = ("instance", fact.instance)
        case Present():
            names = ("connection", fact.id)
        case Occupied():
            names = ("occupied", fact.kind, fact.name)
        case Folded():
            names = ("folded",)
    return ",".join(names).encode()  # no name has a comma


def write(fact: Fact) -> bytes:
    """Return the value of the record of `fact`."""
    return _write(fact)


def read(record: Record) -> Fact | Gone:
    """Return what a record says.

    Raises:
        Dead: If it is none of ours.
    """
    if record.value is None:
        return _gone(record.key or b"")
    try:
        fact: Fact = _read(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Dead("bad_state", str(error)) from None
    if key(fact) != record.key:
        raise Dead("bad_state", "the key does not say what the value is about")
    return fact


def _gone(raw: bytes) -> Gone:
    try:
        kind, *names = raw.decode().split(",")
    except UnicodeDecodeError:
        kind, names = "", []
    if _NAMES.get(kind) != len(names):
        raise Dead("bad_state", "the key is none of the bridge's")
    return Gone(kind, tuple(names))
