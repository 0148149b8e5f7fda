"""What `/v1` answers: its lists, what is in them, and where a command stands.

Rule: these types write the answers and the OpenAPI document, so the two say the same.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

_Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_Count = Annotated[int, Meta(ge=0)]
_NextPage = Annotated[str | None, Meta(description="The next page's `page`; null on the last one.")]


class Ordered(msgspec.Struct):
    """A command that Kafka has acknowledged, for every instance to obey."""

    at: Annotated[str, Meta(description="Its position.")]


class Connection(msgspec.Struct):
    """A client that is connected to one of the instances."""

    id: str
    account: str | None
    rooms: list[str]
    topics: list[str]
    types: Annotated[list[str] | None, Meta(description="Null: all.")]
    instance: str
    address: Annotated[str, Meta(description="The client's network address.")]
    since: _Time
    heard: Annotated[_Time | None, Meta(description="Null of a client of another instance.")]
    queued_bytes: Annotated[_Count | None, Meta(description="Likewise.")]


class Connections(msgspec.Struct):
    """A page of connections, by their ids."""

    items: list[Connection]
    next: _NextPage


class Account(msgspec.Struct):
    """An account: what it is in for good, and where it is."""

    account: str
    rooms: Annotated[list[str], Meta(description="Those of its durable memberships.")]
    connections: Annotated[list[str], Meta(description="Their ids.")]


class Room(msgspec.Struct):
    """A room: its title, who is in it for good, and who is there."""

    room: str
    title: str | None
    members: Annotated[list[str], Meta(description="Accounts with a durable membership.")]
    connections: Annotated[list[str], Meta(description="The ids of those that are in it.")]


class RoomCounts(msgspec.Struct):
    """A room in the list of them: how many are in it for good, and how many are there."""

    room: str
    title: str | None
    members: _Count
    connections: _Count


class Rooms(msgspec.Struct):
    """A page of rooms, by their names."""

    items: list[RoomCounts]
    next: _NextPage


class Instance(msgspec.Struct):
    """A bridge that runs."""

    instance: str
    since: _Time
    heard: Annotated[_Time, Meta(description="When it said last that it runs.")]
    connections: _Count
    ready: bool


class Instances(msgspec.Struct):
    """A page of instances, by their names."""

    items: list[Instance]
    next: _NextPage


class Partition(msgspec.Struct):
    """A partition as this instance reads it."""

    partition: _Count
    position: Annotated[_Count, Meta(description="The next offset that it reads.")]
    end: Annotated[_Count, Meta(description="Kafka's next offset, when it was last heard of.")]
    lag: _Count


#: In what state the feed of a topic can be.
TopicState = Literal["asleep", "absent", "starting", "reading", "stale"]


class Topic(msgspec.Struct):
    """A topic as this instance reads it, and how many of its clients follow it."""

    topic: str
    kafka: Annotated[str, Meta(description="What Kafka calls it.")]
    state: Annotated[
        TopicState,
        Meta(
            description="`asleep`: it is read on demand, and nobody here follows it; `absent`:"
            " Kafka has no such topic yet; `starting`: it was never caught up with; `reading`;"
            " `stale`: Kafka is out of reach."
        ),
    ]
    subscribers: _Count
    partitions: list[Partition]


class Topics(msgspec.Struct):
    """A page of topics, by their names."""

    items: list[Topic]
    next: _NextPage


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
#: Every answer there is, as it might be.
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
)
