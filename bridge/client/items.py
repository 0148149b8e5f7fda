"""What a client hands out, in the order in which it happened.

The rule kept here: a field that the bridge did not send is None, and one that this version does
not know is in `frame`, the frame as it came.
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
    """A connection has begun. What was missed follows, if anything was, and then a `Live`."""

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
    """Something has happened. `data` is None too where it is `deleted` or in `data_base64`."""

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
        """The partition of its topic in Kafka."""
        return int(self.at.split(":")[1])

    @property
    def offset(self) -> int:
        """Its offset in that partition."""
        return int(self.at.split(":")[2])

    @property
    def data_text(self) -> str | None:
        """The data as the producer has written it, numbers with all their digits."""
        return raw_field(self.frame, "data")


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of a topic will not come: load its state anew, then go on."""

    topic: str
    reason: str
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Live:
    """What was missed has been replayed; from here on it is what happens."""

    replayed: int
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Rooms:
    """Another hand has changed this connection's rooms."""

    joined: tuple[str, ...]
    left: tuple[str, ...]
    cursor: str
    frame: str = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A connection, or an attempt at one, has ended; the next comes after `retry_in` seconds.

    `code` is a close code, an HTTP status, or None where it broke.
    """

    code: int | None
    reason: str
    retry_in: float
    frame: str | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Warned:
    """Something went wrong that the connection outlives: a token that could not be renewed."""

    code: str
    reason: str


Item: TypeAlias = Connected | Event | Gap | Live | Rooms | Disconnected | Warned


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client is subscribed to, from `cursor` on."""

    topics: tuple[str, ...]
    rooms: tuple[str, ...]
    cursor: str


def item_from_frame(frame: Frame, text: str) -> Item | None:
    """Return what the user is handed of a frame; None where that is nothing.

    Raises:
        KeyError: If the frame lacks something.
        ValueError: If its position is none.
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
