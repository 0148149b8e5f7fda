"""The hub against a model too simple to be wrong: clients come, follow, lag, and go.

Those who come back here have missed nothing; those who have are in `test_catchup_machine`.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import TopicOffsets, encode_cursor
from bridge.core.protocol.event import Body, Event, TypeFilter
from bridge.core.protocol.record import DecodedBatch
from bridge.core.replay.catchup import CatchUp, NextStep
from bridge.core.replay.retention import LogBounds, ReplayLimits
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.core.sessions.registry import SubscriptionIndex
from bridge.core.sessions.session import MembershipSource, Session, SessionState
from tests.core.client_invariants import ClientInvariants
from tests.core.factories import CURSOR_TIME, TOPIC_ID
from tests.core.hub_model import OUTBOX_FRAMES, HubModel, ModelClient, ModelEvent, comparable_frame
from tests.tiers import example_count

TOPICS = ["news", "orders"]
ACCOUNTS = ["ann", "bob"]
ROOMS = ["hall", "yard"]
CROWD = 4  # at once: more of them would leave fewer steps for what happens to them
WEIGHT = 8  # bytes of every frame, whatever it says
places = st.tuples(st.sampled_from(TOPICS), st.sampled_from([0, 1]))
some_topics = st.sets(st.sampled_from(TOPICS))
some_rooms = st.sets(st.sampled_from(ROOMS))
hands = st.dictionaries(
    st.sampled_from(ROOMS), st.sampled_from([*MembershipSource, ~MembershipSource(0)])
)
happenings = st.builds(
    ModelEvent,
    offset=st.integers(0, 2),  # how far behind the one before
    type=st.sampled_from(["a", "ab", "b"]),
    connections=st.lists(st.sampled_from(["c1", "c2", "c3"]), max_size=1),
    accounts=st.lists(st.sampled_from(ACCOUNTS), max_size=2),
    rooms=st.lists(st.sampled_from(ROOMS), max_size=2),
    all=st.sampled_from([True, True, False]),
)
# How far ahead of this instance a client is in each partition, and Kafka's end ahead of it.
leads = st.fixed_dictionaries({p: st.tuples(st.integers(0, 3), st.integers(-1, 1)) for p in (0, 1)})
cursors = st.dictionaries(st.sampled_from(TOPICS), st.tuples(st.booleans(), leads))


class HubMachine(RuleBasedStateMachine):
    """Nobody gets too much, too little, twice or in the wrong order; and everybody is told."""

    ids: Bundle[str] = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        topics = dict.fromkeys(TOPICS, False)
        ceiling = OUTBOX_FRAMES * WEIGHT
        self.hub = Hub(
            "i1",
            topics,
            heartbeat_seconds=1,
            max_outbox_bytes=ceiling,
            jitter=lambda seconds: seconds,
            wall_clock=lambda: CURSOR_TIME,
        )
        self.catch_up = CatchUp(self.hub, ReplayLimits(0, 0), ceiling)
        self.model = HubModel(TOPICS, TOPIC_ID)
        for topic in TOPICS:
            self.hub.set_start_offsets(topic, TOPIC_ID, {0: 0, 1: 0})
        self.sessions: dict[str, Session] = {}
        self.reliance: dict[str, ClientInvariants] = {}
        self.unflushed: dict[str, int] = {}
        self.frames: list[bytes] = []
        self.came = 0

    # A frame travels as its number here, so that all weigh the same; the first byte says in which
    # of two kinds of socket it was wrapped.
    def socket(self, frame: bytes) -> bytes:
        self.frames.append(frame)
        return b"W" + (len(self.frames) - 1).to_bytes(WEIGHT - 1, "big")

    def stream(self, frame: bytes) -> bytes:
        return b"S" + self.socket(frame)[1:]

    # -- coming and going --------------------------------------------------------------------------

    @precondition(lambda self: len(self.sessions) < CROWD)
    @rule(
        target=ids,
        account=st.sampled_from([*ACCOUNTS, None]),
        topics=st.sampled_from([{"orders"}, {"orders", "news"}, {"news"}, set()]),
        rooms=hands,
        types=st.sampled_from([None, ["a", "b*"], None, ["a*"], None, ["a"], None, []]),
        cursor=st.none() | cursors,
    )
    def connect(
        self,
        account: str | None,
        topics: set[str],
        rooms: dict[str, MembershipSource],
        types: list[str] | None,
        cursor: dict[str, tuple[bool, dict[int, tuple[int, int]]]] | None,
    ) -> str:
        self.came += 1
        id = f"c{self.came}"
        wrap = self.stream if self.came % 2 else self.socket
        session = self.sessions[id] = Session(id, Permissions(account), wrap)
        client = self.model.clients[id] = ModelClient(id, account, topics)
        self.reliance[id] = ClientInvariants()
        session.topics, session.rooms = frozenset(topics), dict(rooms)
        session.type_filter = None if types is None else TypeFilter(types)
        client.types = types
        client.room_sources = {
            room: {hand.name or "" for hand in held} for room, held in rooms.items()
        }
        named = {"topics": sorted(topics), "rooms": client.rooms}
        if cursor is None:
            self.model.expect_frame(client, "welcome", **named)
            self.hub.attach(session)
            return id
        asked: dict[str, TopicOffsets] = {}
        bounds = {
            t: LogBounds(self.model.topic_ids[t], {}, dict(self.model.next_offsets[t]), {})
            for t in TOPICS
        }
        for topic, (knows_life, lead) in cursor.items():
            here, end = self.model.next_offsets[topic], bounds[topic].end_offsets
            offsets = {p: here.get(p, 0) + lead.get(p, (0, 0))[0] for p in {*here, *lead}}
            asked[topic] = TopicOffsets(self.model.topic_ids[topic] if knows_life else b"", offsets)
            ends = {p: max(end.get(p, 0), offsets[p] + further) for p, (_, further) in lead.items()}
            bounds[topic] = bounds[topic]._replace(end_offsets={**end, **ends})
        self.model.expect_frame(client, "welcome", **named)
        client.expected_frames[-1]["cursor"] = {
            topic: (place.topic_id, place.offsets) for topic, place in asked.items()
        }
        ahead = self.model.resume(
            client, asked, {t: each.end_offsets for t, each in bounds.items()}
        )
        self.catch_up.start(session, asked, encode_cursor(asked))
        if ahead:
            assert self.catch_up.advance(session) is NextStep.READ_KAFKA
            assert self.catch_up.check_bounds(session, bounds)
        assert self.catch_up.advance(session) is NextStep.DONE
        return id

    @rule(id=ids, discard=st.booleans(), why=st.sampled_from(close_codes.CLOSE_CODES))
    def hang_up(self, id: str, discard: bool, why: close_codes.CloseCode) -> None:
        self.model.close(self.model.clients[id], why.code, discard=discard)
        self.hub.close(self.sessions[id], why, discard_queued=discard)

    @rule(id=consumes(ids))
    def leave(self, id: str) -> None:
        self.flush(id, OUTBOX_FRAMES * 100)
        self.hub.detach(self.sessions[id])
        assert self.sessions.pop(id).state is SessionState.CLOSED
        client = self.model.clients.pop(id)
        assert client.taken_count == len(client.expected_frames)

    # -- following ---------------------------------------------------------------------------------

    @rule(id=ids, topics=some_topics, rooms=some_rooms, back=st.booleans())
    def subscribe_or_back(self, id: str, topics: set[str], rooms: set[str], back: bool) -> None:
        client, session = self.model.clients[id], self.sessions[id]
        if not client.is_live:
            return
        client.topics = client.topics - topics if back else client.topics | topics
        for room in rooms:
            held = client.room_sources.setdefault(room, set())
            (held.discard if back else held.add)("OWN")
        if back:
            client.min_offsets = {
                t: floors for t, floors in client.min_offsets.items() if t not in topics
            }
        self.model.expect_frame(client, "reply", topics=sorted(client.topics), rooms=client.rooms)
        (self.hub.unsubscribe if back else self.hub.subscribe)(session, topics, rooms)
        self.hub.reply_ok(session, 1)

    @rule(
        id=ids,
        room=st.sampled_from(ROOMS),
        hand=st.sampled_from([MembershipSource.CONNECTION, MembershipSource.ACCOUNT]),
    )
    def take_back(self, id: str, room: str, hand: MembershipSource) -> None:
        self.model.clients[id].room_sources.get(room, set()).discard(hand.name or "")
        self.hub.remove_membership(self.sessions[id], room, hand)

    @rule(id=ids, topics=some_topics, rooms=some_rooms)
    def narrow(self, id: str, topics: set[str], rooms: set[str]) -> None:
        client, session = self.model.clients[id], self.sessions[id]
        if not client.is_live:
            return
        client.topics = client.topics & topics
        client.min_offsets = {t: floors for t, floors in client.min_offsets.items() if t in topics}
        before = client.rooms
        for room in client.room_sources.keys() - rooms:
            client.room_sources[room].discard("OWN")
        if left := [room for room in before if room not in client.rooms]:
            self.model.expect_frame(client, "rooms", joined=[], left=left)
        self.model.expect_frame(client, "reply", topics=sorted(client.topics), rooms=client.rooms)
        grant = session.permissions._replace(topics=NamePatterns(topics), rooms=NamePatterns(rooms))
        self.hub.replace_permissions(session, grant, 1)

    # -- the stream --------------------------------------------------------------------------------

    @rule(where=places, made=st.lists(happenings, min_size=1, max_size=9), hole=st.integers(0, 2))
    def publish(self, where: tuple[str, int], made: list[ModelEvent], hole: int) -> None:
        topic, partition = where
        after = self.model.next_offsets[topic][partition]
        events = []
        for happening in made:
            events.append(happening._replace(offset=after + happening.offset))
            after = events[-1].offset + 1
        self.model.publish(topic, partition, events, after + hole)
        real = [Event(timestamp=0, body=Body.JSON, data=b"1", **it._asdict()) for it in events]
        self.hub.deliver_batch(DecodedBatch(topic, partition, real, after + hole, 0, []))

    @rule(where=places, happening=happenings)
    def publish_one(self, where: tuple[str, int], happening: ModelEvent) -> None:
        self.publish(where, [happening], 0)

    @rule(where=places, mishap=st.sampled_from(["added", "recreated", "corrupt"]))
    def something_happens_to_the_log(self, where: tuple[str, int], mishap: str) -> None:
        topic, partition = where
        offsets = self.model.next_offsets[topic]
        if mishap == "added":
            offsets[len(offsets)] = 0
            self.hub.set_start_offsets(topic, self.model.topic_ids[topic], {len(offsets) - 1: 0})
        elif mishap == "recreated":
            self.model.topic_ids[topic] = life = bytes(reversed(self.model.topic_ids[topic]))
            self.model.next_offsets[topic] = {0: 0, 1: 0}
            self.model.gap(topic, mishap)
            self.hub.set_start_offsets(topic, life, {0: 0, 1: 0})
        else:
            offsets[partition] += 2
            self.model.gap(topic, mishap)
            self.hub.skip_unreadable(topic, mishap, {partition: offsets[partition]})

    # -- writing -----------------------------------------------------------------------------------

    @rule(id=ids)
    def beat(self, id: str) -> None:
        if self.model.clients[id].is_live:
            self.model.expect_frame(self.model.clients[id], "heartbeat")
            self.hub.send_heartbeat(self.sessions[id], None)

    @rule(id=ids, count=st.integers(1, 4))
    def flush(self, id: str, count: int) -> None:
        client, session = self.model.clients[id], self.sessions[id]
        taken = session.outbox.pop(count * WEIGHT)
        for start in range(0, len(taken), WEIGHT):
            assert taken[start : start + 1] == (b"S" if int(id[1:]) % 2 else b"W")
            frame = comparable_frame(
                self.frames[int.from_bytes(taken[start + 1 : start + WEIGHT], "big")]
            )
            assert frame == client.expected_frames[client.taken_count]
            self.reliance[id].check_frame(frame)
            client.taken_count += 1

    @rule()
    def ask_whom_to_flush(self) -> None:
        listed = [session.id for session in self.hub.pop_unflushed()]
        assert len(listed) == len(set(listed))
        for id in self.sessions:
            news = len(self.model.clients[id].expected_frames) != self.unflushed.get(id, 0)
            assert news <= (id in listed)
            self.unflushed[id] = len(self.model.clients[id].expected_frames)

    @invariant()
    def everybody_is_owed_exactly_what_waits_for_it(self) -> None:
        for id, client in self.model.clients.items():
            assert (
                self.sessions[id].outbox.pending_bytes
                == (len(client.expected_frames) - client.taken_count) * WEIGHT
            )
            assert (self.sessions[id].state is SessionState.LIVE) == client.is_live
        assert self.hub.events_delivered == self.model.delivered_count

    @invariant()
    def this_instance_stands_where_it_was_told(self) -> None:
        assert {
            topic: log.next_offsets for topic, log in self.hub.topic_positions.items()
        } == self.model.next_offsets

    @invariant()
    def an_address_is_known_exactly_while_somebody_follows_it(self) -> None:
        index, live = self.hub.subscriptions, {client.id for client in self.model.live_clients()}
        assert {session.id for session in index.all_sessions} == set(index.by_connection) == live
        for kind, expected in self.model.subscribers().items():
            known: dict[str, set[Session]] = getattr(index, kind)
            assert {n: {each.id for each in who} for n, who in known.items()} == expected

    def teardown(self) -> None:
        for id in list(self.sessions):
            self.leave(id)
        assert vars(self.hub.subscriptions) == vars(SubscriptionIndex())


HubMachine.TestCase.settings = settings(
    max_examples=example_count(200), stateful_step_count=40, deadline=None
)
TestHub = HubMachine.TestCase
