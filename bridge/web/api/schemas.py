"""The response bodies of `/v1`, with examples.

Rule: these types encode the responses and generate the OpenAPI document, so the two agree.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_Count = Annotated[int, Meta(ge=0)]
_NextPage = Annotated[
    str | None, Meta(description="The `page` of the next page; null on the last one.")
]


class Ordered(msgspec.Struct):
    """A command that Kafka has acknowledged."""

    at: Annotated[str, Meta(description="Its position.")]


class Connection(msgspec.Struct):
    """A client's connection to one of the instances."""

    id: str
    account: str | None
    rooms: list[str]
    topics: list[str]
    types: Annotated[list[str] | None, Meta(description="The type filter; null: all types.")]
    instance: str
    address: Annotated[str, Meta(description="The client's network address.")]
    since: _Time
    heard: Annotated[
        _Time | None,
        Meta(description="When data last arrived from the client. Null for other instances."),
    ]
    queued_bytes: Annotated[
        _Count | None, Meta(description="Bytes in the outbox. Null for other instances.")
    ]


class Connections(msgspec.Struct):
    """A page of connections, sorted by id."""

    items: list[Connection]
    next: _NextPage


class Account(msgspec.Struct):
    """An account: its durable memberships and its connections."""

    account: str
    rooms: Annotated[list[str], Meta(description="Rooms of its durable memberships.")]
    connections: Annotated[list[str], Meta(description="Connection ids.")]


class Room(msgspec.Struct):
    """A room: its title, its durable members and its connections."""

    room: str
    title: str | None
    members: Annotated[list[str], Meta(description="Accounts with a durable membership.")]
    connections: Annotated[list[str], Meta(description="Ids of the connections in the room.")]


class RoomCounts(msgspec.Struct):
    """A room in a list, with the numbers of its durable members and connections."""

    room: str
    title: str | None
    members: _Count
    connections: _Count


class Rooms(msgspec.Struct):
    """A page of rooms, sorted by name."""

    items: list[RoomCounts]
    next: _NextPage


class Instance(msgspec.Struct):
    """A running instance."""

    instance: str
    since: _Time
    heard: Annotated[_Time, Meta(description="When it last published its presence.")]
    connections: _Count
    ready: bool


class Instances(msgspec.Struct):
    """A page of instances, sorted by name."""

    items: list[Instance]
    next: _NextPage


class Partition(msgspec.Struct):
    """A partition that this instance reads."""

    partition: _Count
    position: Annotated[_Count, Meta(description="The next offset to read.")]
    end: Annotated[_Count, Meta(description="The last known end offset.")]
    lag: _Count


#: The states in which an instance reads a topic.
TopicState = Literal["asleep", "absent", "starting", "reading", "stale", "waiting"]


class Topic(msgspec.Struct):
    """A topic that this instance reads, and its subscribers on this instance."""

    topic: str
    kafka: Annotated[str, Meta(description="The name of the Kafka topic.")]
    state: Annotated[
        TopicState,
        Meta(
            description="`asleep`: an on-demand topic without subscribers here; `absent`: the topic"
            " does not exist in Kafka yet; `starting`: not caught up yet; `reading`;"
            " `stale`: Kafka is unreachable. `waiting`: a partition has no leader."
        ),
    ]
    subscribers: _Count
    partitions: list[Partition]


class Topics(msgspec.Struct):
    """A page of topics, sorted by name."""

    items: list[Topic]
    next: _NextPage


class Reloaded(msgspec.Struct):
    """What a reload has changed."""

    added: Annotated[list[str], Meta(description="Topics that are served from now on.")]
    removed: Annotated[
        list[str], Meta(description="Topics that went, or are another Kafka topic now.")
    ]
    changed: Annotated[list[str], Meta(description="Topics with other properties than before.")]
    restart: Annotated[
        list[str], Meta(description="Other settings that changed, and wait for a restart.")
    ]


_CONNECTION_ID: Final = "9f86d081884c7d659a2feaa0c55ad015"
_SINCE: Final = "2026-11-21T09:00:00.000Z"
_LAST_SEEN: Final = "2026-11-21T09:12:03.250Z"
_CONNECTION: Final = Connection(
    id=_CONNECTION_ID,
    account="alice",
    rooms=["order:42"],
    topics=["orders"],
    types=None,
    instance="bridge-1",
    address="192.0.2.7",
    since=_SINCE,
    heard=_LAST_SEEN,
    queued_bytes=0,
)
_ROOM: Final = RoomCounts("order:42", "Order 42", 1, 1)
_INSTANCE: Final = Instance("bridge-1", _SINCE, _LAST_SEEN, 1, ready=True)
_TOPIC: Final = Topic("orders", "shop.orders.v1", "reading", 1, [Partition(0, 1840, 1842, 2)])
#: An example of each response, for the OpenAPI document.
EXAMPLES: Final[tuple[msgspec.Struct, ...]] = (
    Ordered("push-bridge.control:0:17"),
    _CONNECTION,
    Connections([_CONNECTION], "OWY4NmQwODE4ODRjN2Q2NTlhMmZlYWEwYzU1YWQwMTU"),
    Account("alice", ["order:42"], [_CONNECTION_ID]),
    Room("order:42", "Order 42", ["alice"], [_CONNECTION_ID]),
    _ROOM,
    Rooms([_ROOM], "b3JkZXI6NDI"),
    _INSTANCE,
    Instances([_INSTANCE], None),
    _TOPIC.partitions[0],
    _TOPIC,
    Topics([_TOPIC], None),
    Reloaded(["news"], [], ["orders"], ["limits.rooms"]),
)
