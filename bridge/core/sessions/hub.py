"""All sessions of this instance: what they follow, which events reach them, and their frames.

Rule: every method is synchronous and so atomic on the event loop: no event can slip in between a
welcome and the first live event. Nothing is written to sockets here; see `pop_unflushed`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from bridge.core.journal import Journal
from bridge.core.protocol import close_codes, frames, timestamps
from bridge.core.sessions.fanout import deliver, group_by_audience, group_max_bytes
from bridge.core.sessions.on_demand import OnDemandTopics
from bridge.core.sessions.positions import (
    TopicPosition,
    reposition,
    reposition_replaying,
    session_cursor,
)
from bridge.core.sessions.registry import SessionRegistry, SubscriptionIndex
from bridge.core.sessions.session import (
    MembershipSource,
    ReplayState,
    Session,
    SessionState,
    SessionTrigger,
)
from bridge.core.sessions.stats import Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.protocol.record import DecodedBatch
    from bridge.core.sessions.permissions import Permissions


class Hub:
    """Routes events to sessions, and queues the bridge's own frames for them.

    Args:
        instance: This instance's name, for the welcome.
        private_by_topic: Every public topic, and whether it is private.
        heartbeat_seconds: Only reported in the welcome; who sends heartbeats keeps the time.
        max_outbox_bytes: A session with this many bytes queued is closed as slow.
        jitter: Spreads the seconds after which closed clients reconnect.
        wall_clock: Returns seconds since 1970. A cursor has the time when it was made.
        journal: Recent events, for replays.
        on_demand_topics: Those of the topics that are read on demand. They are idle at first.
        on_first_subscriber: Called with an on-demand topic that gets its first subscriber.
    """

    def __init__(
        self,
        instance: str,
        private_by_topic: Mapping[str, bool],
        *,
        heartbeat_seconds: float,
        max_outbox_bytes: int,
        jitter: Callable[[float], float],
        wall_clock: Callable[[], float],
        journal: Journal | None = None,
        on_demand_topics: Iterable[str] = (),
        on_first_subscriber: Callable[[str], None] | None = None,
    ) -> None:
        self.instance = instance
        self.heartbeat_seconds = heartbeat_seconds
        self.topic_positions = {
            topic: TopicPosition(topic, is_private=is_private)
            for topic, is_private in private_by_topic.items()
        }
        self.subscriptions = SubscriptionIndex()  #: of live sessions
        self.journal = journal if journal is not None else Journal(0)
        self.on_demand = OnDemandTopics(self, on_demand_topics, on_first_subscriber)
        self.replaying: set[Session] = set()
        self._returned: list[Session] = []  # live sessions that replay again
        self.registry = SessionRegistry()
        #: Admitted sessions without a welcome, with topics that they have lost meanwhile.
        self._opening: dict[Session, list[str]] = {}
        self.events_delivered = 0
        self.counters = Counters()
        self._max_outbox_bytes = max_outbox_bytes
        self.max_group_bytes = group_max_bytes(max_outbox_bytes)
        self.jitter = jitter
        self.wall_clock = wall_clock
        self._unflushed: list[Session] = []

    # -- sessions ------------------------------------------------------------------------------

    def readable_topics(self, session: Session) -> frozenset[str]:
        """Topics that `session` receives if it names none.

        With authentication off, private topics must be named. A topic that was added just now is
        not there before it is read.
        """
        permissions = session.permissions
        return frozenset(
            topic
            for topic, topic_position in self.topic_positions.items()
            if not (topic_position.is_private and permissions.may_read_all_private)
            and permissions.may_read(topic, is_private=topic_position.is_private)
            and not self.on_demand.is_starting(topic)
        )

    def may_read(self, session: Session, topic: str) -> bool:
        """True if `session` may follow `topic`. A topic that does not exist counts as forbidden."""
        topic_position = self.topic_positions.get(topic)
        return topic_position is not None and session.permissions.may_read(
            topic, is_private=topic_position.is_private
        )

    def admit(self, session: Session) -> None:
        """Count `session` as a follower of its topics before its welcome."""
        self._opening[session] = []
        self.on_demand.add_admitted(session)

    def all_sessions(self) -> list[Session]:
        """All sessions that are welcomed, or admitted and not welcomed yet."""
        return [*self.registry.by_id.values(), *self._opening]

    def attach(self, session: Session) -> None:
        """Send the welcome and make `session` live. Its topics, rooms and type filter are set."""
        self.index(session)
        session.transition(SessionTrigger.WELCOMED)
        self.send_welcome(session, self.cursor(session))

    def index(self, session: Session) -> None:
        """Add `session` to the index of live sessions: it receives all that is read from now on."""
        session.index = self.subscriptions
        self.subscriptions.add(session)

    def send_welcome(self, session: Session, cursor: str) -> None:
        """Register `session` and send its first frame. Its events continue from `cursor`."""
        self.registry.add(session)
        expires_at = session.permissions.expires_at
        self.send(
            session,
            frames.Welcome(
                connection=session.id,
                account=session.permissions.account,
                instance=self.instance,
                topics=sorted(session.topics),
                rooms=sorted(session.rooms),
                heartbeat=self.heartbeat_seconds,
                expires=None
                if expires_at is None
                else timestamps.ms_to_rfc3339(int(expires_at * 1000)),
                cursor=cursor,
            ),
        )
        self.send_removed(session, self._opening.pop(session, ()))

    def detach(self, session: Session) -> None:
        """Remove `session` after its socket was closed, by whichever side."""
        self._remove(session)
        session.outbox.clear()
        if session.state is not SessionState.CLOSED:
            session.transition(SessionTrigger.DISCONNECTED)

    def _remove(self, session: Session) -> None:
        self.registry.remove(session)
        self._opening.pop(session, None)
        self.on_demand.remove_session(session)
        self.replaying.discard(session)
        if session.index is not None:
            session.index.remove(session)
        session.index = session.replay = None

    def close(
        self, session: Session, close_code: CloseCode, *, discard_queued: bool = False
    ) -> None:
        """Send the closing frame; no event follows. Only the first call has an effect.

        `discard_queued` drops frames that are still queued, because permissions have ended. The
        closing frame then has no cursor: it would cover events that were never sent.
        """
        if session.state is not SessionState.OPENING and not session.is_welcomed:
            return
        has_cursor = session.is_welcomed and not (discard_queued and session.outbox.pending_bytes)
        if discard_queued:
            session.outbox.clear()
        closing = self.build_closing(close_code, self.cursor(session) if has_cursor else None)
        self._remove(session)
        session.transition(SessionTrigger.CLOSED_BY_SERVER)
        session.close_code = close_code
        self.send(session, closing)

    def build_closing(self, close_code: CloseCode, cursor: str | None = None) -> frames.Closing:
        """Return the frame that precedes a close, its `retry_after` spread by jitter."""
        retry_after = close_code.spread_retry_after(self.jitter)
        return frames.Closing(
            close_code.code, close_code.reason, close_code.should_reconnect, retry_after, cursor
        )

    # -- subscriptions -------------------------------------------------------------------------

    def cursor(self, session: Session) -> str:
        """The cursor that covers exactly the events that were queued for `session`."""
        return session_cursor(session, self.topic_positions, int(self.wall_clock()))

    def subscribe(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Add topics and rooms that `session` asked for and may have. Sends no reply."""
        self.registry.mark_changed(session)
        added = frozenset(topics) - session.topics
        session.topics |= added
        self.on_demand.add_subscriber(session, added)
        for topic in added:
            reposition(session, self.topic_positions[topic], from_beginning=False)
        for room in rooms:
            self.add_membership(session, room, MembershipSource.OWN)

    def unsubscribe(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Remove topics, and rooms as far as `session` joined them itself. Sends no reply to it."""
        self.registry.mark_changed(session)
        session.topics -= frozenset(topics)
        for topic in session.held.keys() - session.topics:
            del session.held[topic]
        for room in rooms:
            self.remove_membership(session, room, MembershipSource.OWN)
        self.on_demand.remove_subscriber(session, frozenset(topics))

    def replace_permissions(
        self, session: Session, permissions: Permissions, request_id: frames.RequestId
    ) -> None:
        """Apply a newer token of the same account and reply with what `session` still follows.

        Topics and rooms that `permissions` does not cover are left. Rooms that the backend added
        stay: they do not depend on the token.
        """
        session.permissions = permissions
        topics = [topic for topic in session.topics if not self.may_read(session, topic)]
        rooms = [room for room in session.rooms if not permissions.may_join(room)]
        self.unsubscribe(session, topics, rooms)
        left = sorted(room for room in rooms if room not in session.rooms)
        if left:
            self.send_rooms(session, [], left)
        self.reply_ok(session, request_id)

    def add_membership(self, session: Session, room: str, source: MembershipSource) -> bool:
        """Add a source of the membership; True if `session` was not in `room` before."""
        sources = session.rooms.get(room, MembershipSource(0))
        session.rooms[room] = sources | source
        if not sources:
            self.registry.mark_changed(session)
            if session.index is not None:
                session.index.add_room(session, room)
        return not sources

    def remove_membership(self, session: Session, room: str, source: MembershipSource) -> bool:
        """Remove a source of the membership; True if it was the last and `session` left `room`."""
        sources = session.rooms.get(room, MembershipSource(0))
        remaining = sources & ~source
        if remaining:
            session.rooms[room] = remaining
        elif session.rooms.pop(room, None):
            self.registry.mark_changed(session)
            if session.index is not None:
                session.index.remove_room(session, room)
        return bool(sources) and not remaining

    def sessions_of_account(self, account: str) -> list[Session]:
        """The live and replaying sessions of `account`."""
        replaying = (
            session for session in self.replaying if session.permissions.account == account
        )
        return [*self.subscriptions.by_account.get(account, ()), *replaying]

    # -- events --------------------------------------------------------------------------------

    def set_start_offsets(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Start reading partitions of `topic` at `offsets`; other partitions keep theirs.

        Another `topic_id` than before means that the topic was recreated: followers get a gap.
        """
        topic_position = self.topic_positions[topic]
        recreated = (
            bool(topic_position.topic_id and topic_id) and topic_position.topic_id != topic_id
        )
        topic_position.reset(
            topic_id or topic_position.topic_id,
            offsets if recreated else {**topic_position.next_offsets, **offsets},
        )
        if recreated:
            self.journal.remove_topic(topic)
        for partition, offset in offsets.items():
            self.journal.reset_partition(topic, partition, offset)
        if recreated:
            for session in self.subscriptions.all_sessions:
                session.held.pop(topic, None)
            self.send_gap(topic, "recreated", reposition_replaying(self.replaying, topic_position))
        self.on_demand.activated(topic)

    def set_waiting(
        self, topic: str, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        """Replace the partitions that wait for a leader (`TopicPosition.set_waiting`).

        Sessions that are behind in one that has a leader again are replayed what they missed.
        """
        topic_position = self.topic_positions[topic]
        returned = topic_position.waiting.keys() - since.keys()
        topic_position.set_waiting(topic_id, since, unread)
        for session in tuple(self.subscriptions.all_sessions) if returned else ():
            held = session.held.get(topic)
            if held is not None and not returned.isdisjoint({*held.offsets, *held.awaited}):
                self._replay_held(session)

    def _replay_held(self, session: Session) -> None:
        """Let a live session replay from where it stands in all partitions that it waited for."""
        pending, held = session.min_offsets or {}, session.held
        session.min_offsets = {}
        topic_ids: dict[str, bytes] = {}
        awaited: dict[str, dict[int, int]] = {}
        for topic in session.topics:
            position, place = self.topic_positions[topic], held.get(topic)
            offsets = dict(position.next_offsets)
            for partition, offset in pending.get(topic, {}).items():
                offsets[partition] = max(offset, offsets.get(partition, 0))
            if place is not None:
                offsets.update(place.offsets)
                awaited[topic] = dict(place.awaited)
            session.min_offsets[topic] = offsets
            topic_ids[topic] = position.topic_id
        session.replay = ReplayState(topic_ids, {}, session.held_made_at)
        session.replay.awaited = awaited
        session.held = {}
        if session.index is not None:
            session.index.remove(session)
            session.index = None
        session.transition(SessionTrigger.PARTITION_RETURNED)
        self.replaying.add(session)
        self._returned.append(session)

    def pop_returned(self) -> Sequence[Session]:
        """Return the sessions that must be replayed since the last call."""
        returned, self._returned = self._returned, []
        return returned

    def stale_seconds(self, session: Session) -> float | None:
        """For how long a partition of the session's topics could not be read; None if all can."""
        since = [
            each
            for topic in session.topics
            for each in self.topic_positions[topic].waiting.values()
        ]
        return round(max(0.0, self.wall_clock() - min(since)), 3) if since else None

    def skip_unreadable(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Continue at `offsets` and send a gap: what is below cannot be read and never will be.

        An offset below the current one means that the partition was truncated.
        """
        topic_position = self.topic_positions[topic]
        truncated_ends = {
            partition: offset
            for partition, offset in offsets.items()
            if offset < topic_position.next_offsets.get(partition, 0)
        }
        for partition, offset in offsets.items():
            topic_position.set_next_offset(partition, offset)
            self.journal.reset_partition(topic, partition, offset)
        self.send_gap(
            topic, reason, reposition_replaying(self.replaying, topic_position, truncated_ends)
        )

    def send_gap(self, topic: str, reason: str, replaying: Iterable[Session] = ()) -> None:
        """Send a gap of `topic` to all live followers, and to `replaying` if they follow it."""
        self.counters.gaps_by_reason[reason] += 1
        for session in (*self.subscriptions.all_sessions, *replaying):
            if topic in session.topics:
                if session.replay is None and session.min_offsets is not None:
                    session.min_offsets.pop(topic, None)
                self.send(session, frames.Gap(topic, reason, self.cursor(session)))

    def send_removed(self, session: Session, topics: Iterable[str]) -> None:
        """Send a gap for each of `topics`, which `session` cannot follow any more.

        One that is not welcomed yet gets them behind its welcome.
        """
        if session in self._opening:
            self._opening[session] += topics
            return
        for topic in topics:
            self.send(session, frames.Gap(topic, "removed", self.cursor(session)))

    def deliver_batch(self, batch: DecodedBatch) -> None:
        """Queue a batch's events for their sessions, then move the position and fill the journal.

        Must not be interrupted: a session that attached half-way would lose or repeat events.
        """
        events, unusable = len(batch.events), len(batch.unusable)
        self.counters.records_read += events + batch.unaddressed + unusable + batch.filtered
        self.counters.records_addressed += events
        if batch.unaddressed:
            self.counters.records_unaddressed[batch.topic] += batch.unaddressed
        if batch.filtered:
            self.counters.records_filtered[batch.topic] += batch.filtered
        topic_position = self.topic_positions[batch.topic]
        for group in group_by_audience(self.subscriptions, batch.events, self.max_group_bytes):
            overflowed = deliver(group, batch.topic, batch.partition, self.enqueue_events)
            if overflowed:
                # Their closing frames need a cursor: everything below this group was queued.
                topic_position.set_next_offset(batch.partition, group.events[0].offset)
            for session in overflowed:
                self.close(session, close_codes.SLOW)
        topic_position.set_next_offset(batch.partition, batch.next_offset)
        self.journal.append(batch.topic, batch.partition, batch.events, batch.next_offset)

    def enqueue_events(
        self, session: Session, data: bytes, event_count: int, max_outbox_bytes: int = 0
    ) -> bool:
        """Queue `data`, the frames of `event_count` events; False if the outbox is full.

        `max_outbox_bytes` replaces the usual limit if it is not 0.
        """
        if not session.outbox.try_append(data, max_outbox_bytes or self._max_outbox_bytes):
            return False
        self.events_delivered += event_count
        session.delivered_count += event_count
        if not session.is_flush_pending:
            session.is_flush_pending = True
            self._unflushed.append(session)
        return True

    # -- frames --------------------------------------------------------------------------------

    def send_heartbeat(
        self,
        session: Session,
        stale_seconds: float | None,
        request_id: frames.RequestId = UNSET,
    ) -> None:
        """Queue a heartbeat. `stale_seconds` is how long Kafka was not reached, None if it is."""
        if stale_seconds is None:
            stale_seconds = self.stale_seconds(session)
        stale_or_unset = UNSET if stale_seconds is None else stale_seconds
        self.send(session, frames.Heartbeat(self.cursor(session), request_id, stale_or_unset))

    def send_rooms(self, session: Session, joined: list[str], left: list[str]) -> None:
        """Queue a rooms frame: rooms that `session` joined or left without having asked."""
        self.send(session, frames.RoomsChanged(joined, left, self.cursor(session)))

    def reply_ok(
        self, session: Session, request_id: frames.RequestId, left_rooms: Iterable[str] = ()
    ) -> None:
        """Queue the reply to a request that took effect, with all that `session` follows now.

        Of `left_rooms` it names those that the backend keeps `session` in.
        """
        topics, rooms = sorted(session.topics), sorted(session.rooms)
        kept = sorted(session.rooms.keys() & set(left_rooms)) or UNSET
        reply = frames.OkReply(topics, rooms, self.cursor(session), id=request_id, kept=kept)
        self.send(session, reply)

    def reply_error(
        self, session: Session, error: str, reason: str, request_id: frames.RequestId
    ) -> None:
        """Queue the reply to a request that had no effect. `reason` is for developers."""
        self.send(session, frames.ErrorReply(error, reason, id=request_id))

    def send(self, session: Session, frame: frames.ServerFrame) -> None:
        """Queue one of the bridge's own frames, however full the outbox is."""
        session.outbox.append(session.wrap_frame(frames.encode_frame(frame)))
        if not session.is_flush_pending:
            session.is_flush_pending = True
            self._unflushed.append(session)

    def pop_unflushed(self) -> Sequence[Session]:
        """Return the sessions that got frames since the last call, each once, for writing."""
        unflushed, self._unflushed = self._unflushed, []
        for session in unflushed:
            session.is_flush_pending = False
        return unflushed
