"""Who is there and what is told: the clients of a journey, and envelopes for mixed audiences.

The rule kept here: everything comes from one seed. Some accounts have several clients, in
different rooms; some clients filter by type, some follow one topic only, one is alone in a room.
"""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from tests.journey.roamer import Roamer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENTS, ACCOUNTS, ROOMS = 60, 40, 12
PRIVATE_ROOM = "a-private-room"
LAST = "the.last"
TYPES = ("order.placed", "order.shipped", "chat", "news.flash", "news.weather")
FILTERS = (None, None, ("order.*", LAST), ("chat", "news.flash", LAST))
FAT_BYTES = 6_000


#: In a hundred events: so many are for up to so many accounts and rooms.
AUDIENCES = {(2, 0): 45, (0, 1): 25, (3, 2): 15}


def envelopes(seed: int) -> Iterator[dict[str, Any]]:
    """Envelopes without end: most are for few, some overlap, a few are for everybody or nobody."""
    chance = Random(f"{seed}/envelopes")
    for number in count():
        padding = "x" * (FAT_BYTES if chance.random() < 0.05 else chance.randint(0, 300))
        yield {
            "id": f"e-{number}",
            "type": chance.choice(TYPES),
            "data": {"n": number, "padding": padding},
            **_audience(chance),
        }


def _audience(chance: Random) -> dict[str, Any]:
    def some(most: int, stem: str, of: int) -> list[str]:
        return [f"{stem}-{chance.randrange(of)}" for _ in range(chance.randint(1, most))]

    number = chance.randrange(100)
    for (accounts, rooms), share in AUDIENCES.items():
        if number < share:
            audience = {"accounts": some(accounts, "account", ACCOUNTS)} if accounts else {}
            return audience | ({"rooms": some(rooms, "room", ROOMS)} if rooms else {})
        number -= share
    rare: list[dict[str, Any]] = [
        *[{"rooms": [PRIVATE_ROOM]}] * 3,
        *[{"all": True}] * 2,
        {"accounts": some(1, "account", ACCOUNTS), "all": True},
        {"accounts": ["nobody-who-is-here"], "rooms": ["an-empty-room"]},
        {},
    ]
    return chance.choice(rare)


def last(topic: str, partition: int) -> dict[str, Any]:
    """The event that ends a partition's story, for everybody."""
    return {"id": f"last-{topic}-{partition}", "type": LAST, "all": True, "data": None}


def cast(seed: int, urls: Sequence[str], topics: Sequence[str]) -> list[Roamer]:
    """The clients, of instances at `urls`."""
    chance = Random(f"{seed}/cast")
    choices = (None, frozenset(topics), frozenset(topics[:1]), frozenset(topics[1:]))
    clients = []
    for n in range(CLIENTS):
        rooms = {f"room-{chance.randrange(ROOMS)}" for _ in range(chance.randint(0, 2))}
        clients.append(
            Roamer(
                f"client-{n}",
                urls,
                Random(f"{seed}/client-{n}"),
                last=LAST,
                account=f"account-{n % ACCOUNTS}",
                rooms=rooms | ({PRIVATE_ROOM} if n == 0 else set()),
                topics=chance.choice(choices),
                types=chance.choice(FILTERS),
                hello=chance.random() < 0.5,
                narrow=chance.random() < 0.4,
            )
        )
    return clients
