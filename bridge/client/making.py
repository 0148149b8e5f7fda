"""Items out of frames.

The rule kept here: a frame lacks nothing of what the contract says is always there; what else is
in it is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.client.items import Connected, Event, Gap, Item, Live, Rooms
from bridge.client.position import split

if TYPE_CHECKING:
    from bridge.client.frames import Frame


def item_of(frame: Frame, text: str) -> Item | None:
    """Return what the user is handed of a frame; None where that is nothing.

    Raises:
        KeyError: If the frame lacks something.
        ValueError: If its position is none.
    """
    match frame["op"]:
        case "event":
            split(frame["at"])
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
