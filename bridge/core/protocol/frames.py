"""Frames: JSON text, one object each, discriminated by `op` (docs/protocol.md, "Frames").

Rule: what a producer wrote as `data` is spliced in as it stands, so that its numbers keep their
digits; everything else is written by the encoder, so that no producer's bytes can forge a frame.
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from bridge.core.protocol import timestamps
from bridge.core.protocol.envelope import is_valid_json
from bridge.core.protocol.event import JSON, UNCHECKED, Body

if TYPE_CHECKING:
    from bridge.core.protocol.event import Event

RequestId: TypeAlias = str | int | UnsetType
_encode: Final = msgspec.json.Encoder().encode


class Welcome(msgspec.Struct, tag_field="op", tag="welcome"):
    """The first frame."""

    connection: str
    account: str | None
    instance: str
    topics: list[str]
    rooms: list[str]
    heartbeat: float
    expires: str | None
    cursor: str


class Gap(msgspec.Struct, tag_field="op", tag="gap"):
    """Nothing before `cursor` will come for `topic`: forget its positions, load anew."""

    topic: str
    reason: str
    cursor: str


class Live(msgspec.Struct, tag_field="op", tag="live"):
    """The replay is over; `replayed` counts events."""

    replayed: int
    cursor: str


class Heartbeat(msgspec.Struct, tag_field="op", tag="heartbeat"):
    """Sent busy or not; `stale` is seconds while the instance can not reach Kafka."""

    cursor: str
    id: RequestId = UNSET
    stale: float | UnsetType = UNSET


class RoomsChanged(msgspec.Struct, tag_field="op", tag="rooms"):
    """The backend changed this connection's rooms."""

    joined: list[str]
    left: list[str]
    cursor: str


class OkReply(msgspec.Struct, tag_field="op", tag="reply"):
    """The request took effect at `cursor`."""

    topics: list[str]
    rooms: list[str]
    cursor: str
    ok: bool = True
    id: RequestId = UNSET


class ErrorReply(msgspec.Struct, tag_field="op", tag="reply"):
    """No effect. `error` is one of `bad_frame`, `forbidden`, `limit`, `bad_token`."""

    error: str
    reason: str
    ok: bool = False
    id: RequestId = UNSET


class Closing(msgspec.Struct, tag_field="op", tag="closing"):
    """Before a close by the server; `retry_after` is seconds."""

    code: int
    reason: str
    reconnect: bool
    retry_after: float
    cursor: str | None


ServerFrame: TypeAlias = (
    Welcome | Gap | Live | Heartbeat | RoomsChanged | OkReply | ErrorReply | Closing
)


def encode_frame(frame: ServerFrame) -> bytes:
    """Return `frame` as JSON text."""
    return _encode(frame)


class Hello(msgspec.Struct, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """Who a client is and what it wants: the first frame after `?hello=1`, or the URL's parameters.

    `topics` of None means every topic that may be read unnamed, `types` of None all types.
    """

    topics: list[str] | None = None
    rooms: list[str] | None = None
    types: list[str] | None = None
    cursor: str | None = None
    since: str | None = None
    token: str | None = None
    account: str | None = None


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Follow these topics and rooms too."""

    topics: list[str] = []
    rooms: list[str] = []
    id: RequestId = UNSET


class Unsubscribe(msgspec.Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """Follow these topics and rooms no longer."""

    topics: list[str] = []
    rooms: list[str] = []
    id: RequestId = UNSET


class HeartbeatRequest(msgspec.Struct, tag_field="op", tag="heartbeat", forbid_unknown_fields=True):
    """Answer with a heartbeat."""

    id: RequestId = UNSET


class TokenUpdate(msgspec.Struct, tag_field="op", tag="token", forbid_unknown_fields=True):
    """A newer credential of the same account."""

    token: str
    id: RequestId = UNSET


ClientFrame: TypeAlias = Subscribe | Unsubscribe | HeartbeatRequest | TokenUpdate


class BadFrame(ValueError):
    """A frame that breaks the contract. `id` is the request's, as far as it could be read."""

    def __init__(self, reason: str, request_id: RequestId = UNSET) -> None:
        super().__init__(reason)
        self.request_id = request_id


class _RequestIdOnly(msgspec.Struct):
    id: RequestId = UNSET


_decode_client_frame: Final = msgspec.json.Decoder(ClientFrame).decode
# Of a single type `op` could be left out; of several it can not.
_decode_hello: Final = msgspec.json.Decoder(Hello | HeartbeatRequest).decode
_decode_request_id: Final = msgspec.json.Decoder(_RequestIdOnly).decode


def decode_frame(text: bytes) -> ClientFrame:
    """Read a client's frame.

    Raises:
        BadFrame: If it is not one of them.
    """
    try:
        frame: ClientFrame = _decode_client_frame(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(
            f"not a frame that a client may send: {error}", _request_id_of(text)
        ) from None
    return frame


def decode_hello(text: bytes) -> Hello:
    """Read the first frame of a connection that was opened with `?hello=1`.

    Raises:
        BadFrame: If it is no `hello`.
    """
    try:
        hello: Hello | HeartbeatRequest = _decode_hello(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a hello: {error}") from None
    if not isinstance(hello, Hello):
        raise BadFrame("not a hello")
    return hello


def _request_id_of(text: bytes) -> RequestId:
    try:
        return _decode_request_id(text).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNSET


def to_for_room(room: str) -> str:
    """Return what `to` says to those who got an event through `room`."""
    return "room:" + room


TO_CONNECTION: Final = "connection"
TO_ACCOUNT: Final = "account"
TO_ALL: Final = "all"


class EventFrame(msgspec.Struct, tag_field="op", tag="event", gc=False):
    """One event's frame. `data` and `meta` go out as the producer wrote them."""

    topic: str
    at: str
    to: str
    id: str
    type: str
    time: str
    tag: str | UnsetType = UNSET
    meta: msgspec.Raw | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    data: msgspec.Raw | UnsetType = UNSET
    data_base64: str | UnsetType = UNSET
    deleted: bool | UnsetType = UNSET

    def encode(self, to: str) -> bytes:
        """Return it for those who got it because of `to`."""
        self.to = to
        return _encode(self)


def build_event_frame(topic: str, partition: int, event: Event) -> EventFrame:
    """Return the frame of `event`, up to what differs between readers: why each of them got it."""
    position = f"{topic}:{partition}:{event.offset}"
    frame = EventFrame(
        topic,
        position,
        "",
        position if event.id is None else event.id,
        event.type,
        timestamps.ms_to_rfc3339(event.timestamp) if event.time is None else event.time,
    )
    if event.tag is not None:
        frame.tag = event.tag
    if event.meta is not None:
        frame.meta = msgspec.Raw(event.meta)
    if event.traceparent is not None:
        frame.traceparent = event.traceparent
    if event.body is JSON or _is_json_data(event):
        frame.data = msgspec.Raw(event.data)
    elif event.body is Body.BASE64:
        frame.data_base64 = event.data.decode()
    else:
        frame.deleted = True
    return frame


def _is_json_data(event: Event) -> bool:
    """Look at a value of which that is not known; tell whether it is JSON.

    That is once for each event that somebody here gets: most are for nobody here.
    """
    if event.body is not UNCHECKED:
        return False
    if is_valid_json(event.data):
        event.body = JSON
        return True
    event.body, event.data = Body.BASE64, b64encode(event.data)
    return False
