"""Clients that come, come back anywhere, follow this and that, read slowly, and go.

The half of the machine in `test_catchup_machine` that is about them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor, encode_cursor
from bridge.core.protocol.event import TypeFilter
from bridge.core.replay import catchup
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import MembershipSource, Session, SessionState
from tests.core.replay_client import ReplayClient, ReplaySubscription
from tests.core.replay_instance import ReplayInstance
from tests.core.replay_world import ReplayWorld, WrittenEvent
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from collections.abc import Callable

TOPICS = ["news", "orders", "young"]  # the last does not exist at first
FRAME_BYTES = 8  # bytes of every frame, whatever it says
OUTBOX_BYTES = 16 * FRAME_BYTES
MAX_CLIENTS = 6
STEP_EVENTS = 3
instance_indices = st.integers(0, 1)
client_indices = st.integers(0, 99)  # one of those that there are
written_events = st.builds(
    WrittenEvent,
    offset=st.sampled_from([0, 0, 0, 1, 2]),  # how far behind the one before
    number=st.just(0),
    accounts=st.lists(st.sampled_from(["ann", "bob"]), max_size=1),
    rooms=st.lists(st.sampled_from(["hall", "yard"]), max_size=2),
    all=st.sampled_from([True, True, False]),
    type=st.sampled_from(["a", "a", "b"]),
)
subscriptions = st.builds(
    ReplaySubscription,
    account=st.sampled_from(["ann", "bob", None]),
    topics=st.sampled_from([{"orders"}, {"orders", "news"}, {"orders", "young"}, set(TOPICS)]),
    rooms=st.sets(st.sampled_from(["hall", "yard"])),
    types=st.sampled_from([None, None, None, ["a"]]),
)
GapsByClient = dict[ReplayClient, dict[str, str]]


class ClientRules(RuleBasedStateMachine):
    """The clients of two instances."""

    @initialize(
        budgets=st.tuples(*[st.sampled_from([1500, 1500, 4000, 10**6])] * 2),
        past=st.lists(written_events, min_size=5, max_size=20),
    )
    def begin(self, budgets: tuple[int, int], past: list[WrittenEvent]) -> None:
        self.world = ReplayWorld(TOPICS[:-1])
        for topic in TOPICS[:-1]:
            self.world.write(self.world.partition(topic, 0), past, 0)
        self.instances = [
            ReplayInstance(f"i{number}", self.world, TOPICS, budget=budget, ceiling=OUTBOX_BYTES)
            for number, budget in enumerate(budgets)
        ]
        self.clients: list[ReplayClient] = []
        self.disconnected: list[ReplayClient] = []
        self.frames: list[dict[str, Any]] = []
        self.connection_count = 0
        self.patch = mock.patch.multiple(
            catchup, MAX_STEP_EVENTS=STEP_EVENTS, MAX_STEP_INDEX_ENTRIES=4
        )
        self.patch.start()

    # -- looking at what was sent ------------------------------------------------------------------

    # A frame travels as its number here, so that all weigh the same; the first byte says in which
    # of two kinds of socket it was wrapped.
    def wrap_websocket(self, frame: bytes) -> bytes:
        self.frames.append(read_frame(frame))
        return b"W" + (len(self.frames) - 1).to_bytes(FRAME_BYTES - 1, "big")

    def wrap_sse(self, frame: bytes) -> bytes:
        return b"S" + self.wrap_websocket(frame)[1:]

    def check_all(self, gaps: GapsByClient | None = None) -> None:
        """Let everybody judge what was sent since; exactly `gaps` have to be told."""
        for client in self.clients:
            for topic, place in client.positions.items():
                if not place.topic_id:  # it had not existed yet
                    client.positions[topic] = place._replace(
                        topic_id=client.instance.read_place(topic).topic_id
                    )
            expected = dict((gaps or {}).get(client, {}))
            queued = client.session.outbox._frames
            for frame in queued[client.checked_count :]:
                assert frame[:1] == client.transport_kind
                client.check_frame(self.frames[int.from_bytes(frame[1:], "big")], expected)
            client.checked_count = len(queued)
            assert expected == {}
            if client.state != "closed":
                client.check_cursor(decode_cursor(client.instance.hub.cursor(client.session)))
                assert (client.state == "live") == (client.session.state is SessionState.LIVE)
                assert client.state != "live" or client.has_caught_up()
                assert client.silent_jumps == {}

    def pick_client(
        self, index: int, condition: Callable[[ReplayClient], bool]
    ) -> ReplayClient | None:
        matching = [client for client in self.clients if condition(client)]
        return matching[index % len(matching)] if matching else None

    # -- coming and going --------------------------------------------------------------------------

    def connect(
        self,
        instance: ReplayInstance,
        subscription: ReplaySubscription,
        cursor: Cursor | None,
        cursor_text: str,
        is_since: bool,
    ) -> None:
        self.connection_count += 1
        transport_kind = b"S" if self.connection_count % 2 else b"W"
        wrap = self.wrap_sse if transport_kind == b"S" else self.wrap_websocket
        session = Session(f"c{self.connection_count}", Permissions(subscription.account), wrap)
        session.topics, session.rooms = (
            frozenset(subscription.topics),
            dict.fromkeys(subscription.rooms, MembershipSource.OWN),
        )
        session.type_filter = None if subscription.types is None else TypeFilter(subscription.types)
        own_subscription = ReplaySubscription(
            subscription.account, subscription.topics, subscription.rooms, subscription.types
        )
        client = ReplayClient(self.world, instance, session, own_subscription, transport_kind)
        client.begin(cursor, cursor_text, is_since=is_since)
        self.clients.append(client)
        if cursor is None:
            instance.hub.attach(session)
        else:
            instance.catch_up.start(session, cursor, cursor_text, may_clamp=is_since)
        self.check_all()

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS and self.clients + self.disconnected)
    @rule(
        at=instance_indices,
        index=client_indices,
        count=st.integers(1, 60),
        other=st.none() | subscriptions,
    )
    def reconnect(self, at: int, index: int, count: int, other: ReplaySubscription | None) -> None:
        candidates = [*self.clients, *self.disconnected]
        before = candidates[index % len(candidates)]
        text = before.resume_cursor(1 + count % len(before.frames))
        if text is not None:
            cursor = decode_cursor(text)
            self.connect(
                self.instances[at], other or before.subscription, cursor, text, is_since=False
            )

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(at=instance_indices, wish=subscriptions, back=st.none() | st.integers(0, 40))
    def connect_fresh(self, at: int, wish: ReplaySubscription, back: int | None) -> None:
        """One that comes fresh, or asks for a time."""
        if back is None:
            self.connect(self.instances[at], wish, None, "", is_since=False)
            return
        cursor = {
            topic: TopicOffsets(
                self.world.topics[topic].identity,
                {n: max(0, it.end - back) for n, it in self.world.topics[topic].partitions.items()},
            )
            for topic in wish.topics & self.world.topics.keys()
        }
        self.connect(self.instances[at], wish, cursor, encode_cursor(cursor), is_since=True)

    @precondition(lambda self: self.clients)
    @rule(indices=st.lists(client_indices, max_size=3), softly=st.booleans())
    def disconnect(self, indices: list[int], softly: bool) -> None:
        for index in indices:
            if client := self.pick_client(index, lambda _: True):
                if softly:
                    client.instance.hub.close(client.session, close_codes.DRAINING)
                    self.check_all()
                self.clients.remove(client)
                self.disconnected.append(client)
                client.instance.hub.detach(client.session)

    @precondition(lambda self: self.clients)
    @rule(index=client_indices, count=st.integers(0, 40), beat=st.booleans())
    def flush(self, index: int, count: int, beat: bool) -> None:
        if beat and (client := self.pick_client(index, lambda it: it.state != "closed")):
            client.instance.hub.send_heartbeat(client.session, None)
            self.check_all()
        for client in self.clients if count else ():
            client.session.outbox.pop(count * FRAME_BYTES)
            client.checked_count = len(client.session.outbox._frames)

    @precondition(lambda self: self.clients)
    @rule(
        index=client_indices,
        topics=st.sets(st.sampled_from(TOPICS)),
        rooms=st.sets(st.sampled_from(["hall", "yard"])),
        back=st.booleans(),
    )
    def change_subscription(
        self, index: int, topics: set[str], rooms: set[str], back: bool
    ) -> None:
        client = self.pick_client(index, lambda it: it.state != "closed")
        if client is None:
            return
        hub, session, subscription = client.instance.hub, client.session, client.subscription
        if back:
            hub.unsubscribe(session, topics, rooms)
            subscription.topics -= topics
            subscription.rooms -= rooms
        else:
            hub.subscribe(session, topics, rooms)
            for topic in topics - subscription.topics:
                instance_place = client.instance.read_place(topic)
                client.positions[topic] = TopicOffsets(
                    instance_place.topic_id, dict(instance_place.offsets)
                )
                client.since_offsets.pop(topic, None)
            subscription.topics |= topics
            subscription.rooms |= rooms
        for topic in client.positions.keys() - subscription.topics:
            del client.positions[topic]
        hub.reply_ok(session, 1)
        self.check_all()
