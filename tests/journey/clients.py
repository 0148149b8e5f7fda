"""Who is there and what is told: the clients of a journey, and envelopes for mixed audiences.

The rule kept here: everything comes from one seed. Some accounts have several clients, in
different rooms; some clients filter by type, some follow one topic only, one is alone in a room.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from tests.journey.reconnecting_client import ReconnectingClient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENT_COUNT, ACCOUNT_COUNT, ROOM_COUNT = 60, 40, 12
PRIVATE_ROOM = "a-private-room"
LAST_TYPE = "the.last"
TYPES = ("order.placed", "order.shipped", "chat", "news.flash", "news.weather")
FILTERS = (None, None, ("order.*", LAST_TYPE), ("chat", "news.flash", LAST_TYPE))
LARGE_EVENT_BYTES = 6_000


#: In a hundred events: so many are for up to so many accounts and rooms.
AUDIENCES = {(2, 0): 45, (0, 1): 25, (3, 2): 15}


def envelopes(seed: int) -> Iterator[dict[str, Any]]:
    """Envelopes without end: most are for few, some overlap, a few are for everybody or nobody."""
    rng = Random(f"{seed}/envelopes")
    for number in count():
        padding = "x" * (LARGE_EVENT_BYTES if rng.random() < 0.05 else rng.randint(0, 300))
        yield {
            "id": f"e-{number}",
            "type": rng.choice(TYPES),
            "data": {"n": number, "padding": padding},
            **_audience(rng),
        }


def _audience(rng: Random) -> dict[str, Any]:
    def some(most: int, stem: str, of: int) -> list[str]:
        return [f"{stem}-{rng.randrange(of)}" for _ in range(rng.randint(1, most))]

    number = rng.randrange(100)
    for (accounts, rooms), share in AUDIENCES.items():
        if number < share:
            audience = {"accounts": some(accounts, "account", ACCOUNT_COUNT)} if accounts else {}
            return audience | ({"rooms": some(rooms, "room", ROOM_COUNT)} if rooms else {})
        number -= share
    rare: list[dict[str, Any]] = [
        *[{"rooms": [PRIVATE_ROOM]}] * 3,
        *[{"all": True}] * 2,
        {"accounts": some(1, "account", ACCOUNT_COUNT), "all": True},
        {"accounts": ["nobody-who-is-here"], "rooms": ["an-empty-room"]},
        {},
    ]
    return rng.choice(rare)


def last_event(topic: str, partition: int) -> dict[str, Any]:
    """The event that ends a partition's story, for everybody."""
    return {"id": f"last-{topic}-{partition}", "type": LAST_TYPE, "all": True, "data": None}


def make_clients(seed: int, urls: Sequence[str], topics: Sequence[str]) -> list[ReconnectingClient]:
    """The clients, of instances at `urls`."""
    rng = Random(f"{seed}/cast")
    topic_choices = (None, frozenset(topics), frozenset(topics[:1]), frozenset(topics[1:]))
    clients = []
    for n in range(CLIENT_COUNT):
        rooms = {f"room-{rng.randrange(ROOM_COUNT)}" for _ in range(rng.randint(0, 2))}
        clients.append(
            ReconnectingClient(
                f"client-{n}",
                urls,
                Random(f"{seed}/client-{n}"),
                last_type=LAST_TYPE,
                account=f"account-{n % ACCOUNT_COUNT}",
                rooms=rooms | ({PRIVATE_ROOM} if n == 0 else set()),
                topics=rng.choice(topic_choices),
                types=rng.choice(FILTERS),
                sends_hello=rng.random() < 0.5,
                has_small_buffers=rng.random() < 0.4,
            )
        )
    return clients
