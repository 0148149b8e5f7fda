"""Clients that come, come back anywhere, follow this and that, read slowly, and go.

The half of the machine in `test_catchup_machine` that is about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import Cursor, Place, read_cursor, write_cursor
from bridge.core.protocol.event import Types
from bridge.core.replay import catchup
from bridge.core.sessions.permissions import Grant
from bridge.core.sessions.session import Hand, Session, State
from tests.core.replay_client import Asked, Client
from tests.core.replay_instance import Instance
from tests.core.replay_world import Fact, World
from tests.harness.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Callable

TOPICS = ["news", "orders", "young"]  # the last does not exist at first
WEIGHT = 8  # bytes of every frame, whatever it says
CEILING = 16 * WEIGHT
CROWD = 6
STEP = 3
which = st.integers(0, 1)
some = st.integers(0, 99)  # one of those that there are
facts = st.builds(
    Fact,
    offset=st.sampled_from([0, 0, 0, 1, 2]),  # how far behind the one before
    number=st.just(0),
    accounts=st.lists(st.sampled_from(["ann", "bob"]), max_size=1),
    rooms=st.lists(st.sampled_from(["hall", "yard"]), max_size=2),
    all=st.sampled_from([True, True, False]),
    type=st.sampled_from(["a", "a", "b"]),
)
asked = st.builds(
    Asked,
    account=st.sampled_from(["ann", "bob", None]),
    topics=st.sampled_from([{"orders"}, {"orders", "news"}, {"orders", "young"}, set(TOPICS)]),
    rooms=st.sets(st.sampled_from(["hall", "yard"])),
    types=st.sampled_from([None, None, None, ["a"]]),
)
Gaps = dict[Client, dict[str, str]]


class Crowd(RuleBasedStateMachine):
    """The clients of two instances."""

    @initialize(
        budgets=st.tuples(*[st.sampled_from([1500, 1500, 4000, 10**6])] * 2),
        past=st.lists(facts, min_size=5, max_size=20),
    )
    def begin(self, budgets: tuple[int, int], past: list[Fact]) -> None:
        self.world = World(TOPICS[:-1])
        for topic in TOPICS[:-1]:
            self.world.write(self.world.partition(topic, 0), past, 0)
        self.at = [
            Instance(f"i{number}", self.world, TOPICS, budget=budget, ceiling=CEILING)
            for number, budget in enumerate(budgets)
        ]
        self.clients: list[Client] = []
        self.left: list[Client] = []
        self.frames: list[dict[str, Any]] = []
        self.came = 0
        self.patch = mock.patch.multiple(catchup, STEP_EVENTS=STEP, STEP_PACKED=4)
        self.patch.start()

    # -- looking at what was sent ------------------------------------------------------------------

    # A frame travels as its number here, so that all weigh the same; the first byte says in which
    # of two kinds of socket it was wrapped.
    def socket(self, frame: bytes) -> bytes:
        self.frames.append(read_frame(frame))
        return b"W" + (len(self.frames) - 1).to_bytes(WEIGHT - 1, "big")

    def stream(self, frame: bytes) -> bytes:
        return b"S" + self.socket(frame)[1:]

    def look(self, gaps: Gaps | None = None) -> None:
        """Let everybody judge what was sent since; exactly `gaps` have to be told."""
        for client in self.clients:
            for topic, place in client.places.items():
                if not place.identity:  # it had not existed yet
                    client.places[topic] = place._replace(identity=client.at.place(topic).identity)
            expected = dict((gaps or {}).get(client, {}))
            waiting = client.session.outbox._frames
            for frame in waiting[client.waited :]:
                assert frame[:1] == client.kind
                client.see(self.frames[int.from_bytes(frame[1:], "big")], expected)
            client.waited = len(waiting)
            assert expected == {}
            if client.state != "closed":
                client.reveal(read_cursor(client.at.hub.cursor(client.session)))
                assert (client.state == "live") == (client.session.state is State.LIVE)
                assert client.state != "live" or client.is_up_to_now()
                assert client.leaps == {}

    def pick(self, index: int, at: Callable[[Client], bool]) -> Client | None:
        there = [client for client in self.clients if at(client)]
        return there[index % len(there)] if there else None

    # -- coming and going --------------------------------------------------------------------------

    def connect(
        self, at: Instance, wish: Asked, cursor: Cursor | None, text: str, clip: bool
    ) -> None:
        self.came += 1
        kind = b"S" if self.came % 2 else b"W"
        wrap = self.stream if kind == b"S" else self.socket
        session = Session(f"c{self.came}", Grant(wish.account), wrap, None)
        session.topics, session.rooms = frozenset(wish.topics), dict.fromkeys(wish.rooms, Hand.OWN)
        session.types = None if wish.types is None else Types(wish.types)
        own = Asked(wish.account, wish.topics, wish.rooms, wish.types)
        client = Client(self.world, at, session, own, kind)
        client.begin(cursor, text, clip=clip)
        self.clients.append(client)
        if cursor is None:
            at.hub.attach(session)
        else:
            at.catch_up.begin(session, cursor, text, clip=clip)
        self.look()

    @precondition(lambda self: len(self.clients) < CROWD and self.clients + self.left)
    @rule(at=which, index=some, count=st.integers(1, 60), other=st.none() | asked)
    def come_back(self, at: int, index: int, count: int, other: Asked | None) -> None:
        known = [*self.clients, *self.left]
        before = known[index % len(known)]
        text = before.bookmark(1 + count % len(before.frames))
        if text is not None:
            cursor = read_cursor(text)
            self.connect(self.at[at], other or before.asked, cursor, text, clip=False)

    @precondition(lambda self: len(self.clients) < CROWD)
    @rule(at=which, wish=asked, back=st.none() | st.integers(0, 40))
    def come(self, at: int, wish: Asked, back: int | None) -> None:
        """One that comes fresh, or asks for a time."""
        if back is None:
            self.connect(self.at[at], wish, None, "", clip=False)
            return
        cursor = {
            topic: Place(
                self.world.topics[topic].identity,
                {n: max(0, it.end - back) for n, it in self.world.topics[topic].partitions.items()},
            )
            for topic in wish.topics & self.world.topics.keys()
        }
        self.connect(self.at[at], wish, cursor, write_cursor(cursor), clip=True)

    @precondition(lambda self: self.clients)
    @rule(indices=st.lists(some, max_size=3), softly=st.booleans())
    def go(self, indices: list[int], softly: bool) -> None:
        for index in indices:
            if client := self.pick(index, lambda _: True):
                if softly:
                    client.at.hub.hang_up(client.session, close_codes.DRAINING)
                    self.look()
                self.clients.remove(client)
                self.left.append(client)
                client.at.hub.detach(client.session)

    @precondition(lambda self: self.clients)
    @rule(index=some, count=st.integers(0, 40), beat=st.booleans())
    def flush(self, index: int, count: int, beat: bool) -> None:
        if beat and (client := self.pick(index, lambda it: it.state != "closed")):
            client.at.hub.beat(client.session, None)
            self.look()
        for client in self.clients if count else ():
            client.session.outbox.take(count * WEIGHT)
            client.waited = len(client.session.outbox._frames)

    @precondition(lambda self: self.clients)
    @rule(
        index=some,
        topics=st.sets(st.sampled_from(TOPICS)),
        rooms=st.sets(st.sampled_from(["hall", "yard"])),
        back=st.booleans(),
    )
    def subscribe_or_back(self, index: int, topics: set[str], rooms: set[str], back: bool) -> None:
        client = self.pick(index, lambda it: it.state != "closed")
        if client is None:
            return
        hub, session, wish = client.at.hub, client.session, client.asked
        if back:
            hub.unfollow(session, topics, rooms)
            wish.topics -= topics
            wish.rooms -= rooms
        else:
            hub.follow(session, topics, rooms)
            for topic in topics - wish.topics:
                here = client.at.place(topic)
                client.places[topic] = Place(here.identity, dict(here.offsets))
                client.begun.pop(topic, None)
            wish.topics |= topics
            wish.rooms |= rooms
        for topic in client.places.keys() - wish.topics:
            del client.places[topic]
        hub.done(session, 1)
        self.look()
