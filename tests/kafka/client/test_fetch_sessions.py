"""Fetch sessions: a broker's picture of a session and ours are the same, whatever gets lost."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import errors
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.kafka.client.aiokafka_internals import FetchRequest_v11
from bridge.kafka.client.client import KafkaAccess, KafkaClient, TopicPartition
from bridge.kafka.client.fetch_sessions import FetchSession
from bridge.kafka.client.protocol import FetchById, FetchRequest_v13

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.kafka.client.fetch_sessions import FetchChanges

PLACES = [TopicPartition(topic, number) for topic in ("a", "b") for number in range(3)]
Key = tuple[TopicPartition, uuid.UUID | None]


class SessionBroker:
    """What KIP-227 makes a broker keep of one client's session."""

    def __init__(self) -> None:
        self.session: dict[Key, int] | None = None
        self.id = 0
        self.epoch = 0
        self.last_id = 0

    def read(
        self, changes: FetchChanges[TopicPartition], ids: Mapping[str, uuid.UUID | None]
    ) -> dict[Key, int]:
        """Return the offsets that a fetch reads; raise as a broker answers with an error."""
        named = {(p, ids.get(p.topic)): offset for p, offset in changes.offsets.items()}
        if changes.epoch == -1:
            return named
        if changes.epoch == 0:
            assert changes.session_id == 0
            self.last_id += 1
            self.session, self.id, self.epoch = named, self.last_id, 1
            return named
        if self.session is None or changes.session_id != self.id:
            raise errors.FetchSessionIdNotFound
        if changes.epoch != self.epoch:
            raise errors.InvalidFetchSessionEpoch
        self.epoch += 1
        for key in changes.forgotten:
            del self.session[key]
        self.session |= named
        return self.session


class Sessions(RuleBasedStateMachine):
    """Offsets move, partitions come and go, topics are recreated, and messages get lost."""

    def __init__(self) -> None:
        super().__init__()
        self.broker, self.ours = SessionBroker(), FetchSession[TopicPartition]()
        self.ids: dict[str, uuid.UUID | None] = {topic: uuid.uuid4() for topic in ("a", "b")}
        self.offsets: dict[TopicPartition, int] = {PLACES[0]: 0}
        self.has_ids = True

    @rule(place=st.sampled_from(PLACES), offset=st.integers(0, 3))
    def move(self, place: TopicPartition, offset: int) -> None:
        self.offsets[place] = offset

    @rule(place=st.sampled_from(PLACES))
    def pause(self, place: TopicPartition) -> None:
        self.offsets.pop(place, None)

    @rule(topic=st.sampled_from(["a", "b"]))
    def recreate(self, topic: str) -> None:
        self.ids[topic] = uuid.uuid4() if self.has_ids else None

    @rule(has_ids=st.booleans())
    def upgrade(self, has_ids: bool) -> None:
        self.has_ids = has_ids
        self.ids = {topic: uuid.uuid4() if has_ids else None for topic in self.ids}

    @rule()
    def evict(self) -> None:
        self.broker.session = None

    @rule(lost=st.sampled_from(["nothing", "the request", "the response"]), room=st.booleans())
    def fetch(self, lost: str, room: bool) -> None:
        changes = self.ours.begin_fetch(self.offsets, self.ids)
        if lost == "the request":
            return
        try:
            read = self.broker.read(changes, self.ids)
        except (errors.FetchSessionIdNotFound, errors.InvalidFetchSessionEpoch):
            self.ours.reset()
            changes = self.ours.begin_fetch(self.offsets, self.ids)
            read = self.broker.read(changes, self.ids)
        assert read == {(p, self.ids[p.topic]): offset for p, offset in self.offsets.items()}
        if not room:
            self.broker.session = None
        if lost == "nothing":
            self.ours.accept(self.broker.id if self.broker.session is not None else 0)

    @invariant()
    def a_session_is_believed_only_after_an_answer(self) -> None:
        if self.broker.last_id == 0:
            assert not self.ours.is_incremental


TestSessions = Sessions.TestCase
IDS: dict[str, uuid.UUID | None] = {"a": uuid.UUID(int=1), "b": uuid.UUID(int=2)}


def test_an_incremental_fetch_names_only_what_changed() -> None:
    session = FetchSession[TopicPartition]()
    offsets = dict.fromkeys(PLACES, 7)
    full = session.begin_fetch(offsets, IDS)
    assert (full.session_id, full.epoch, full.offsets) == (0, 0, offsets)
    session.accept(5)
    assert session.begin_fetch(offsets, IDS)[:3] == (5, 1, {})
    session.accept(5)
    changed = session.begin_fetch({**offsets, PLACES[1]: 8}, IDS)
    assert changed[:3] == (5, 2, {PLACES[1]: 8})
    session.accept(5)
    del offsets[PLACES[0]]
    less = session.begin_fetch({**offsets, PLACES[1]: 8}, IDS)
    assert (less.offsets, list(less.forgotten)) == ({}, [(PLACES[0], IDS["a"])])


def test_a_recreated_topic_is_forgotten_under_its_old_id() -> None:
    session = FetchSession[TopicPartition]()
    session.begin_fetch({PLACES[0]: 7}, IDS)
    session.accept(5)
    changes = session.begin_fetch({PLACES[0]: 7}, {"a": uuid.UUID(int=9)})
    assert (changes.offsets, list(changes.forgotten)) == ({PLACES[0]: 7}, [(PLACES[0], IDS["a"])])


def test_a_request_that_was_not_answered_ends_the_session() -> None:
    session = FetchSession[TopicPartition]()
    session.begin_fetch({PLACES[0]: 7}, IDS)
    session.accept(5)
    session.begin_fetch({PLACES[0]: 8}, IDS)
    assert session.begin_fetch({PLACES[0]: 8}, IDS)[:3] == (0, 0, {PLACES[0]: 8})


def test_the_epoch_follows_the_largest_with_one() -> None:
    session = FetchSession[TopicPartition]()
    session.begin_fetch({PLACES[0]: 7}, IDS)
    session.accept(5)
    session._epoch = 2**31 - 1
    session.begin_fetch({PLACES[0]: 7}, IDS)
    session.accept(5)
    assert session.begin_fetch({PLACES[0]: 7}, IDS).epoch == 1


class Response:
    """A fetch response without partitions."""

    def __init__(self, session_id: int, error_code: int = 0) -> None:
        self.session_id, self.error_code = session_id, error_code
        self.topics: list[Any] = []


class AnsweringClient(KafkaClient):
    """Records what is sent, and answers with `responses` in turn."""

    def __init__(self, *responses: Response) -> None:
        super().__init__(KafkaAccess("127.0.0.1:1", {}))
        self.sent: list[Any] = []
        self._responses = list(responses)

    async def _send(self, _node: int, request: Any, _connection: Any = None) -> Any:
        version = FetchRequest_v13 if isinstance(request, FetchById) else FetchRequest_v11
        self.sent.append(request.build(version))
        return self._responses.pop(0)


@pytest.mark.parametrize("error_code", [70, 71, 106])
async def test_a_session_that_the_broker_lost_begins_anew_at_once(error_code: int) -> None:
    client = AnsweringClient(Response(5), Response(0, error_code), Response(6))
    session = FetchSession[TopicPartition]()
    for _ in range(2):
        await client.fetch(0, {PLACES[0]: 7}, IDS, max_bytes=1, session=session)
    assert [(s.session_id, s.session_epoch, len(s.topics)) for s in client.sent] == [
        (0, 0, 1),
        (5, 1, 0),
        (0, 0, 1),
    ]


async def test_another_error_of_a_fetch_raises_and_ends_the_session() -> None:
    client = AnsweringClient(Response(5), Response(5, 29), Response(6))
    session = FetchSession[TopicPartition]()
    await client.fetch(0, {PLACES[0]: 7}, IDS, max_bytes=1, session=session)
    with pytest.raises(errors.TopicAuthorizationFailedError):
        await client.fetch(0, {PLACES[0]: 7}, IDS, max_bytes=1, session=session)
    assert not session.is_incremental


async def test_a_replay_has_no_session_and_tells_no_rack() -> None:
    client = AnsweringClient(Response(0))
    await client.fetch(0, {PLACES[0]: 7}, IDS, max_bytes=1)
    (sent,) = client.sent
    assert (sent.session_id, sent.session_epoch, sent.rack_id) == (0, -1, "")


@pytest.mark.parametrize("ids", [IDS, {}])
async def test_what_is_forgotten_is_encoded(ids: dict[str, uuid.UUID | None]) -> None:
    client = AnsweringClient(Response(5), Response(5))
    session = FetchSession[TopicPartition]()
    for offsets in ({PLACES[0]: 7, PLACES[1]: 7, PLACES[3]: 1}, {PLACES[3]: 1}):
        await client.fetch(0, offsets, ids, max_bytes=1, session=session, rack="east")
    sent = client.sent[1]
    tags: list[Any] = [{}] if ids else []
    forgotten = sent.forgotten if ids else sent.forgotten_topics_data
    assert [tuple(each) for each in forgotten] == [(ids.get("a", "a"), [0, 1], *tags)]
    assert (sent.topics, sent.rack_id) == ([], "east")
    assert sent.encode(), "the broker can read it"


def test_by_name_where_one_topic_has_no_id() -> None:
    session = FetchSession[TopicPartition]()
    session.begin_fetch({PLACES[0]: 7}, IDS)
    session.accept(5)
    changes = session.begin_fetch({PLACES[0]: 7}, {"a": None})
    assert changes[:2] == (0, 0), "names and ids do not mix in a session"
