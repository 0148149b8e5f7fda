"""The items that a client yields, and how they are built from frames.

Rule: a field that the bridge did not send is None. `frame` is the frame's whole text, including
fields that this version does not know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from bridge.client.frames import raw_field
from bridge.client.position import split_position

if TYPE_CHECKING:
    from bridge.client.frames import Frame


@dataclass(frozen=True, slots=True)
class Connected:
    """The bridge has sent its welcome. After a resume the missed events follow, then a `Live`."""

    connection: str
    account: str | None
    instance: str
    topics: tuple[str, ...]
    rooms: tuple[str, ...]
    heartbeat: float
    expires: str | None
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Event:
    """An event. `data` is None if `deleted` is true or `data_base64` is set."""

    topic: str
    at: str
    to: str
    id: str
    type: str
    time: str
    data: Any = field(repr=False)
    data_base64: str | None = field(repr=False)
    deleted: bool
    tag: str | None
    meta: Any
    frame: str = field(repr=False, compare=False)

    @property
    def partition(self) -> int:
        """The Kafka partition, from `at`."""
        return int(self.at.split(":")[1])

    @property
    def offset(self) -> int:
        """The Kafka offset, from `at`."""
        return int(self.at.split(":")[2])

    @property
    def data_text(self) -> str | None:
        """The data as the producer wrote it; numbers keep all their digits."""
        return raw_field(self.frame, "data")


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of a topic cannot be replayed: load its state again, then continue."""

    topic: str
    reason: str
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Live:
    """The replay is over; later events are live."""

    replayed: int
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Rooms:
    """The backend has changed this connection's rooms."""

    joined: tuple[str, ...]
    left: tuple[str, ...]
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection or an attempt has ended; the next attempt follows after `retry_in` seconds.

    `code` is a close code, an HTTP status, or None if the connection broke.
    """

    code: int | None
    reason: str
    retry_in: float
    frame: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Warned:
    """A failure after which the connection continues: the token could not be renewed."""

    code: str
    reason: str


Item: TypeAlias = Connected | Event | Gap | Live | Rooms | Disconnected | Warned


@dataclass(frozen=True, slots=True)
class Subscription:
    """The topics and rooms of a client after a change, valid from `cursor` on.

    `kept` has the rooms of an `unsubscribe` that the backend keeps the client in.
    """

    topics: tuple[str, ...]
    rooms: tuple[str, ...]
    cursor: str
    kept: tuple[str, ...] = ()


def item_from_frame(frame: Frame, text: str) -> Item | None:
    """Return the item of a frame; None for frames that are no items.

    Raises:
        KeyError: If a field is missing.
        ValueError: If the `at` of an event is malformed.
    """
    match frame["op"]:
        case "event":
            split_position(frame["at"])
            return Event(
                topic=frame["topic"],
                at=frame["at"],
                to=frame["to"],
                id=frame["id"],
                type=frame["type"],
                time=frame["time"],
                data=frame.get("data"),
                data_base64=frame.get("data_base64"),
                deleted=frame.get("deleted") is True,
                tag=frame.get("tag"),
                meta=frame.get("meta"),
                frame=text,
            )
        case "welcome":
            return Connected(
                connection=frame["connection"],
                account=frame["account"],
                instance=frame["instance"],
                topics=tuple(frame["topics"]),
                rooms=tuple(frame["rooms"]),
                heartbeat=float(frame["heartbeat"]),
                expires=frame["expires"],
                cursor=frame["cursor"],
                frame=text,
            )
        case "gap":
            return Gap(frame["topic"], frame["reason"], frame["cursor"], text)
        case "live":
            return Live(frame["replayed"], frame["cursor"], text)
        case "rooms":
            return Rooms(tuple(frame["joined"]), tuple(frame["left"]), frame["cursor"], text)
    return None
