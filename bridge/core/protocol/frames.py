"""Client and server frames: JSON objects with `op` as their tag (docs/protocol.md, "Frames").

Rule: a producer's `data` and `meta` are checked JSON and go out unchanged, so numbers keep their
digits. The encoder writes everything else, so no producer's bytes can forge a frame.
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

#: The client's `id` of a request, repeated in its reply.
RequestId: TypeAlias = str | int | UnsetType
_encode: Final = msgspec.json.Encoder().encode

# -- from the server -----------------------------------------------------------------------------


class Welcome(msgspec.Struct, tag_field="op", tag="welcome"):
    """The first frame. `heartbeat` is in seconds, `expires` an RFC 3339 time."""

    connection: str
    account: str | None
    instance: str
    topics: list[str]
    rooms: list[str]
    heartbeat: float
    expires: str | None
    cursor: str


class Gap(msgspec.Struct, tag_field="op", tag="gap"):
    """Events of `topic` before `cursor` will not come: drop its positions and reload the state."""

    topic: str
    reason: str
    cursor: str


class Live(msgspec.Struct, tag_field="op", tag="live"):
    """The replay is over; live events follow. `replayed` is the number of replayed events.

    `waiting` are partitions without a leader: what they hold comes later.
    """

    replayed: int
    cursor: str
    waiting: list[str] | UnsetType = UNSET


class Heartbeat(msgspec.Struct, tag_field="op", tag="heartbeat"):
    """Sent whether events flow or not. `stale` is for how many seconds Kafka was not reached."""

    cursor: str
    id: RequestId = UNSET
    stale: float | UnsetType = UNSET


class RoomsChanged(msgspec.Struct, tag_field="op", tag="rooms"):
    """The backend, or a newer token, changed this connection's rooms."""

    joined: list[str]
    left: list[str]
    cursor: str


class OkReply(msgspec.Struct, tag_field="op", tag="reply"):
    """The request took effect at `cursor`. Lists what the connection follows now.

    `kept` has the rooms of an `unsubscribe` that the backend keeps the connection in.
    """

    topics: list[str]
    rooms: list[str]
    cursor: str
    ok: bool = True
    id: RequestId = UNSET
    kept: list[str] | UnsetType = UNSET


class ErrorReply(msgspec.Struct, tag_field="op", tag="reply"):
    """The request had no effect. `error` is one of those in docs/protocol.md."""

    error: str
    reason: str
    ok: bool = False
    id: RequestId = UNSET


class Closing(msgspec.Struct, tag_field="op", tag="closing"):
    """Sent before the server closes the connection. `retry_after` is in seconds."""

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


# -- from the client -----------------------------------------------------------------------------


class Hello(msgspec.Struct, tag_field="op", tag="hello", forbid_unknown_fields=True):
    """What a client connects with: the first frame after `?hello=1`, or the URL's parameters.

    `topics` of None means every topic that may be read without naming it. `types` of None means
    all types.
    """

    topics: list[str] | None = None
    rooms: list[str] | None = None
    types: list[str] | None = None
    cursor: str | None = None
    since: str | None = None
    token: str | None = None
    account: str | None = None


class Subscribe(msgspec.Struct, tag_field="op", tag="subscribe", forbid_unknown_fields=True):
    """Receive events of more topics, and join more rooms."""

    topics: list[str] = []
    rooms: list[str] = []
    id: RequestId = UNSET


class Unsubscribe(msgspec.Struct, tag_field="op", tag="unsubscribe", forbid_unknown_fields=True):
    """Leave topics and rooms."""

    topics: list[str] = []
    rooms: list[str] = []
    id: RequestId = UNSET


class HeartbeatRequest(msgspec.Struct, tag_field="op", tag="heartbeat", forbid_unknown_fields=True):
    """Asks for a heartbeat, as an application-level ping."""

    id: RequestId = UNSET


class TokenUpdate(msgspec.Struct, tag_field="op", tag="token", forbid_unknown_fields=True):
    """A newer token of the same account."""

    token: str
    id: RequestId = UNSET


ClientFrame: TypeAlias = Subscribe | Unsubscribe | HeartbeatRequest | TokenUpdate


class BadFrame(ValueError):
    """A client's frame breaks the protocol. `request_id` is its `id`, if that could be read."""

    def __init__(self, reason: str, request_id: RequestId = UNSET) -> None:
        super().__init__(reason)
        self.request_id = request_id


class _RequestIdOnly(msgspec.Struct):
    id: RequestId = UNSET


_decode_client_frame: Final = msgspec.json.Decoder(ClientFrame).decode
# msgspec makes the tag optional for a single type. With a second type, `op` is required.
_decode_hello: Final = msgspec.json.Decoder(Hello | HeartbeatRequest).decode
_decode_request_id: Final = msgspec.json.Decoder(_RequestIdOnly).decode


def decode_frame(text: bytes) -> ClientFrame:
    """Parse a frame of a live connection.

    Raises:
        BadFrame: If it is not JSON, has an unknown `op` or field, or a field of a wrong type.
    """
    try:
        frame: ClientFrame = _decode_client_frame(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(
            f"not a frame that a client may send: {error}", _request_id_of(text)
        ) from None
    return frame


def decode_hello(text: bytes) -> Hello:
    """Parse the first frame of a connection that was opened with `?hello=1`.

    Raises:
        BadFrame: If it is not a valid `hello`.
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


# -- events --------------------------------------------------------------------------------------

# Values of an event frame's `to`: the address through which this client receives it.
TO_CONNECTION: Final = "connection"
TO_ACCOUNT: Final = "account"
TO_ALL: Final = "all"


def to_for_room(room: str) -> str:
    """Return the `to` of events that are received through `room`."""
    return "room:" + room


class EventFrame(msgspec.Struct, tag_field="op", tag="event", gc=False):
    """The frame of one event. `at` is its position; exactly one of the last three fields is set."""

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
        """Return the frame as JSON text for the sessions that receive it through `to`."""
        self.to = to
        return _encode(self)


def build_event_frame(topic: str, partition: int, event: Event) -> EventFrame:
    """Build the frame of `event` with an empty `to`, the only field that differs by receiver."""
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
    """Check an unchecked value once and keep the result in the event; True if it is JSON.

    Only events that a session here receives are checked. Most have no receiver on this instance.
    """
    if event.body is not UNCHECKED:
        return False
    if is_valid_json(event.data):
        event.body = JSON
        return True
    event.body, event.data = Body.BASE64, b64encode(event.data)
    return False
