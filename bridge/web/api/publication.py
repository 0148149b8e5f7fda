"""What is posted to be published, and the record that it becomes.

Rule: it is checked by the rules of a record's envelope before it is written, so that nothing that
was accepted can turn out dead; and `data` is written as it was posted, its numbers to the digit.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from bridge.core.protocol import timestamps
from bridge.core.protocol.names import is_name
from bridge.web.api.bodies import WrongField, decode

_Name = Annotated[
    str,
    Meta(
        description="1 to 200 bytes of UTF-8 without control characters, `,` or `*`.",
        extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f,*]+$", "maxLength": 200},
    ),
]
_FIELDS: Final = ("id", "type", "time", "tag", "accounts", "rooms", "connections", "all")


class Publication(msgspec.Struct):
    """An event for at least one account, room or connection, or for all.

    Fields that are not known here are ignored; null is absent.
    """

    topic: Annotated[str, Meta(description="The public name of one of the bridge's topics.")]
    key: Annotated[str | None, Meta(description="What has one key keeps its order.")] = None
    id: Annotated[str | None, Meta(description="The same in every try; default: random.")] = None
    type: Annotated[str | None, Meta(description="Default: `event`.")] = None
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    tag: Annotated[str | None, Meta(description="The producer's own.")] = None
    accounts: list[_Name] | None = None
    rooms: list[_Name] | None = None
    connections: list[_Name] | None = None
    all: Annotated[bool | None, Meta(description="For everybody who is subscribed.")] = None
    meta: Annotated[Raw | UnsetType, Meta(description="The producer's own: any JSON.")] = UNSET
    data: Annotated[Raw | UnsetType, Meta(description="Any JSON; default: null.")] = UNSET


#: What the types do not say: one of these is there (JSON Schema).
AUDIENCE: Final = [
    *(
        {"required": [name], "properties": {name: {"type": "array", "minItems": 1}}}
        for name in ("accounts", "rooms", "connections")
    ),
    {"required": ["all"], "properties": {"all": {"const": True}}},
]
EXAMPLE: Final = {
    "topic": "orders",
    "key": "42",
    "id": "o-1842",
    "type": "order.shipped",
    "accounts": ["alice"],
    "rooms": ["order:42"],
    "data": {"order": 42},
}


class Published(msgspec.Struct):
    """An event that Kafka has acknowledged."""

    id: str
    at: Annotated[str, Meta(description="Its position.", examples=["orders:3:1842"])]


_decode: Final = msgspec.json.Decoder(Publication).decode


def read_publication(body: bytes) -> Publication:
    """Read what was posted; it has an `id` then.

    Raises:
        BadJson: If it is no JSON.
        WrongField: If a field is wrong, or it is for nobody.
    """
    posted = decode(body, _decode)
    for field in ("accounts", "rooms", "connections"):
        for name in getattr(posted, field) or ():
            if not is_name(name):
                raise WrongField(f"{field}: not a name of 1 to 200 bytes: {name[:200]!a}")
    if not (posted.accounts or posted.rooms or posted.connections or posted.all):
        raise WrongField("for nobody: say accounts, rooms or connections, or all")
    if posted.time is not None:
        try:
            timestamps.to_utc(posted.time)
        except ValueError as error:
            raise WrongField(f"time: {error}") from None
    if posted.id is None:
        posted.id = uuid.uuid4().hex
    return posted


def envelope(posted: Publication) -> bytes:
    """Return the value of the record, a native envelope."""
    fields: dict[str, object] = {
        name: value for name in _FIELDS if (value := getattr(posted, name)) is not None
    }
    for name in ("meta", "data"):
        if (raw := getattr(posted, name)) is not UNSET:
            fields[name] = raw
    return msgspec.json.encode(fields)
