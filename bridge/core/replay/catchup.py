"""Replays missed events to a resumed session until it is live.

Rules: a topic is replayed completely or refused with a gap. Events come from the journal, older
ones from scans of Kafka. The step that exhausts the journal makes the session live, atomically.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from bridge.core.journal import ALL_KEY, account_key, connection_key, room_key
from bridge.core.protocol import frames
from bridge.core.protocol.cursor import Cursor, TopicOffsets, cursor_time
from bridge.core.protocol.event import address_count
from bridge.core.replay.retention import (
    LogBounds,
    ReplayLimits,
    ReplayRefused,
    check_retention,
    limit_by_cursor_age,
)
from bridge.core.sessions.fanout import FrameCache, deliver, group_by_audience, match_reason
from bridge.core.sessions.positions import (
    prune_min_offsets,
    replay_offsets,
    reposition,
    waiting_partitions,
)
from bridge.core.sessions.registry import SubscriptionIndex
from bridge.core.sessions.session import ReplayState, ScanRange, SessionTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.core.journal import Journal, JournalRange
    from bridge.core.protocol.record import DecodedBatch
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

#: Events that one step reads for a session before other sessions have their turn.
MAX_STEP_EVENTS: Final = 500
#: So many addresses of an event take the time of one more event.
ADDRESSES_PER_EVENT: Final = 50
#: Entries that one step adds to the journal's index, at about a microsecond each.
MAX_STEP_INDEX_ENTRIES: Final = 1_000


class NextStep(Enum):
    """What the caller of `CatchUp.advance` must do next."""

    DONE = auto()  #: nothing: the session is live, or closed
    CONTINUE = auto()  #: call again after other sessions: there is more in the journal
    WAIT_FOR_CLIENT = auto()  #: call again when the client has read: its outbox is full
    READ_KAFKA = (
        auto()
    )  #: the journal does not reach down to it, or only Kafka can judge its cursor


class StepBudget:
    """How much one step may still do for `session`, and its search keys in the journal."""

    __slots__ = ("audience_keys", "events_left", "index_entries_left", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events_left = MAX_STEP_EVENTS
        self.index_entries_left = MAX_STEP_INDEX_ENTRIES
        self.audience_keys = [connection_key(session.id), ALL_KEY, *map(room_key, session.rooms)]
        if session.permissions.account is not None:
            self.audience_keys.append(account_key(session.permissions.account))


class JournalReplay:
    """Sends events of the journal to one session at a time."""

    def __init__(self, journal: Journal, offer: Callable[[Session, bytes], bool]) -> None:
        """`offer` queues an event's frame for a session; False means that its outbox is full."""
        self._journal = journal
        self._offer = offer
        self._frame_cache = FrameCache()

    def replay_partition(
        self, budget: StepBudget, topic: str, partition: int, offsets: dict[int, int]
    ) -> NextStep | None:
        """Send events of one partition and advance its offset; None if it is exhausted.

        `offsets` has the session's next offset of each partition of `topic`, and is updated.
        """
        session, offset = budget.session, offsets.get(partition, 0)
        tail = self._journal.partition(topic, partition)
        if offset < tail.start_offset:
            return NextStep.READ_KAFKA
        for segment in tail.segments_from(offset):
            if segment.has_unindexed_events and budget.index_entries_left > 0:
                budget.index_entries_left -= self._journal.index_segment(
                    segment, budget.index_entries_left
                )
            if segment.has_unindexed_events:
                return NextStep.CONTINUE
            for event_number in segment.find(budget.audience_keys, offset):
                if budget.events_left <= 0:
                    return NextStep.CONTINUE
                event = segment.event(event_number)
                budget.events_left -= 1 + address_count(event) // ADDRESSES_PER_EVENT
                to = match_reason(session, event)
                if to is not None:
                    event_key = (segment.serial, event_number)
                    frame = self._frame_cache.get(
                        topic, partition, event_key, event, to, session.wrap_frame
                    )
                    if not self._offer(session, frame):
                        return NextStep.WAIT_FOR_CLIENT
                offsets[partition] = event.offset + 1
            offsets[partition] = max(offset, segment.next_offset)
        offsets[partition] = tail.next_offset
        return None


class ScanState(ScanRange):
    """One scan of Kafka and the sessions that it serves.

    `backfills` keep what it reads for the journal, by partition.
    """

    __slots__ = ("backfills", "subscriptions")

    def __init__(self, start_offsets: dict[tuple[str, int], int]) -> None:
        super().__init__(start_offsets)
        self.subscriptions = SubscriptionIndex()
        self.backfills: dict[tuple[str, int], JournalRange] = {}


#: A replay pauses while the client has this many bytes to read.
MAX_REPLAY_OUTBOX_BYTES: Final = 256 * 1024


class CatchUp:
    """Drives sessions from their welcome until they are live.

    The caller calls `advance` repeatedly and does what `NextStep` asks for: reading Kafka is not
    done here.
    """

    def __init__(self, hub: Hub, limits: ReplayLimits, max_outbox_bytes: int) -> None:
        """`max_outbox_bytes` is the limit of outboxes in live delivery."""
        self._hub = hub
        self.journal = hub.journal
        self._limits = limits
        # At most half of the limit: a session that becomes live needs room for live events.
        self._max_replay_outbox_bytes = min(MAX_REPLAY_OUTBOX_BYTES, max(1, max_outbox_bytes // 2))
        self._journal_replay = JournalReplay(hub.journal, self._offer)
        self.resume_count = 0  #: sessions that connected with a cursor
        self.gap_counts: Counter[str] = Counter()  #: gaps sent instead of a replay, by reason

    def start(
        self, session: Session, cursor: Cursor, cursor_text: str, *, may_clamp: bool = False
    ) -> None:
        """Welcome `session`, whose events continue from `cursor`, as text `cursor_text`.

        With `may_clamp`, positions that are too old are raised without a gap: the client
        asked for events from a time on.
        """
        self.resume_count += 1
        topic_positions = self._hub.topic_positions
        # A topic that is not in the cursor starts at the current offsets.
        start_places = {
            topic: cursor.get(topic)
            or TopicOffsets(topic_positions[topic].topic_id, topic_positions[topic].next_offsets)
            for topic in session.topics
        }
        session.min_offsets = {topic: dict(place.offsets) for topic, place in start_places.items()}
        session.replay = ReplayState(
            {
                topic: place.topic_id or topic_positions[topic].topic_id
                for topic, place in start_places.items()
            },
            {topic: dict(place.offsets) for topic, place in start_places.items()}
            if may_clamp
            else {},
            made_at=cursor_time(cursor),
        )
        session.transition(SessionTrigger.RESUMED)
        self._hub.replaying.add(session)
        session.replay.awaited = {
            topic: dict(awaited)
            for topic in session.topics
            if (
                awaited := cursor[topic].awaited
                if topic in cursor
                else topic_positions[topic].awaited
            )
        }
        session.replay.uncovered_topics = session.topics - cursor.keys()
        self._hub.send_welcome(session, cursor_text)

    def advance(self, session: Session) -> NextStep:
        """Send one step of missed events from the journal; make `session` live if that was all."""
        if session.replay is None or session.min_offsets is None:
            return NextStep.DONE
        self.leave_scan(session)
        self._send_recreated_gaps(session, session.replay)
        if self.awaited_times(session) or (
            not session.replay.is_admitted and self._is_ahead_of_instance(session)
        ):
            return NextStep.READ_KAFKA
        next_step = self._replay_from_journal(StepBudget(session), session.min_offsets)
        self.journal.evict()
        if next_step is None:
            self._go_live(session, session.replay)
            return NextStep.DONE
        if next_step is NextStep.READ_KAFKA and session.replay.is_admitted:
            # The journal may have dropped events since, so there may be more to read than allowed.
            remaining_records = sum(
                journal_start - offset
                for offset, journal_start in self.missing_ranges(session).values()
            )
            session.replay.is_admitted = (
                session.replay.records_read + remaining_records <= self._limits.max_records
            )
        return next_step

    def _replay_from_journal(
        self, budget: StepBudget, offsets: dict[str, dict[int, int]]
    ) -> NextStep | None:
        for topic in sorted(budget.session.topics):
            for partition, end_offset in self._hub.topic_positions[topic].next_offsets.items():
                if offsets[topic].get(partition, 0) < end_offset and not self._must_wait(
                    budget.session, topic, partition
                ):
                    self._send_full_cursor(budget.session, {topic})
                    next_step = self._journal_replay.replay_partition(
                        budget, topic, partition, offsets[topic]
                    )
                    if next_step is not None:
                        return next_step
        return None

    def _send_full_cursor(self, session: Session, topics: set[str]) -> None:
        """Send a cursor with all topics before the first event of a topic that the client's lacks.

        A client appends positions to its cursor. A position needs its topic in the cursor.
        """
        if session.replay is not None and session.replay.uncovered_topics & topics:
            session.replay.uncovered_topics = frozenset()
            self._hub.send_heartbeat(session, None)

    def missing_ranges(self, session: Session) -> dict[tuple[str, int], tuple[int, int]]:
        """What must be read from Kafka for `session`: by partition, first offset and end."""
        if session.replay is None or session.min_offsets is None:
            return {}
        return {
            (topic, partition): (offset, journal_start)
            for topic in session.topics
            for partition in self._hub.topic_positions[topic].next_offsets
            if not self._must_wait(session, topic, partition)
            and (offset := session.min_offsets[topic].get(partition, 0))
            < (journal_start := self.journal.start_offset(topic, partition))
        }

    # -- partitions without a leader -------------------------------------------------------------

    def is_waiting(self, topic: str, partition: int) -> bool:
        """Whether the partition has no leader, so that only the journal can replay it."""
        return partition in self._hub.topic_positions[topic].waiting

    def _must_wait(self, session: Session, topic: str, partition: int) -> bool:
        """Whether `session` needs what nobody can read now."""
        if session.replay is None or session.min_offsets is None:
            return False
        if not self.is_waiting(topic, partition):
            return False
        return partition in session.replay.awaited.get(topic, ()) or (
            session.min_offsets[topic].get(partition, 0)
            < self.journal.start_offset(topic, partition)
        )

    def awaited_times(self, session: Session) -> dict[str, dict[int, int]]:
        """The starts that Kafka has to look up for `session`, as in `ReplayState.awaited`."""
        awaited = {} if session.replay is None else session.replay.awaited
        times = {
            topic: {p: s for p, s in awaited[topic].items() if not self.is_waiting(topic, p)}
            for topic in awaited.keys() & session.topics
        }
        return {topic: by_partition for topic, by_partition in times.items() if by_partition}

    def set_awaited(self, session: Session, offsets: Mapping[str, Mapping[int, int]]) -> None:
        """Let `session` start at these offsets, which Kafka found for `awaited_times`."""
        for topic, times in self.awaited_times(session).items():
            assert session.replay is not None and session.min_offsets is not None  # noqa: PT018, S101
            for partition in times:
                del session.replay.awaited[topic][partition]
                if (offset := offsets.get(topic, {}).get(partition)) is not None:
                    session.min_offsets[topic][partition] = offset

    def pop_returned(self) -> Sequence[Session]:
        """Return the sessions for which a partition has a leader again."""
        return self._hub.pop_returned()

    def _hold(self, session: Session, replay: ReplayState) -> None:
        """Remember where `session` stands in partitions that wait, if it is behind there."""
        session.held_made_at = replay.made_at
        for topic in session.topics:
            position = self._hub.topic_positions[topic]
            min_offsets = (session.min_offsets or {}).get(topic, {})
            awaited = {
                p: s for p, s in replay.awaited.get(topic, {}).items() if p in position.waiting
            }
            offsets = {
                p: min_offsets.get(p, 0)
                for p in position.waiting.keys() - awaited.keys()
                if p not in position.next_offsets
                or min_offsets.get(p, 0) < position.next_offsets[p]
            }
            if awaited or offsets:
                session.held[topic] = TopicOffsets(position.topic_id, offsets, awaited)

    def _offer(self, session: Session, data: bytes, event_count: int = 1) -> bool:
        if not self._hub.enqueue_events(session, data, event_count, self._max_replay_outbox_bytes):
            return False
        if session.replay is not None:
            session.replay.events_replayed += event_count
        return True

    def _go_live(self, session: Session, replay: ReplayState) -> None:
        self._hold(session, replay)
        session.replay = None
        prune_min_offsets(session, self._hub.topic_positions)
        session.transition(SessionTrigger.CAUGHT_UP)
        self._hub.replaying.discard(session)
        self._hub.index(session)
        waiting = waiting_partitions(session.topics, self._hub.topic_positions)
        live = frames.Live(replay.events_replayed, self._hub.cursor(session), waiting or UNSET)
        self._hub.send(session, live)

    # -- gaps ------------------------------------------------------------------------------------

    def _send_recreated_gaps(self, session: Session, replay: ReplayState) -> None:
        for topic in sorted(session.topics):
            topic_position = self._hub.topic_positions[topic]
            if topic_position.was_recreated_since(replay.topic_ids[topic]):
                self._send_gap(session, topic, "recreated")

    def _is_ahead_of_instance(self, session: Session) -> bool:
        """True if the session's cursor is ahead of this instance, or of the log: ask Kafka."""
        return any(
            offset > self._hub.topic_positions[topic].next_offsets.get(partition, 0)
            for topic in session.topics
            for partition, offset in (session.min_offsets or {})[topic].items()
            if not self.is_waiting(topic, partition)
        )

    def check_bounds(self, session: Session, bounds: Mapping[str, LogBounds]) -> bool:
        """Admit `session` for a replay; send gaps for topics that retention or limits do not allow.

        Topics with fewer records to read come first, so that the limit refuses as few topics as
        possible. False means that `bounds` are outdated: fetch them again.
        """
        if session.replay is None or session.min_offsets is None:
            return True
        for topic in session.topics:
            topic_bounds = bounds.get(topic)
            if topic_bounds is None or topic_bounds.topic_id not in {
                None,
                self._hub.topic_positions[topic].topic_id,
            }:
                return False
        session.replay.is_admitted = True
        record_counts: list[tuple[int, str]] = []
        for topic in sorted(session.topics):
            if not self._hub.topic_positions[topic].was_recreated_since(
                session.replay.topic_ids[topic]
            ):
                try:
                    record_counts.append(
                        (self._check_topic_bounds(session, topic, bounds[topic]), topic)
                    )
                except ReplayRefused as refused:
                    self._send_gap(session, topic, str(refused))
        total_records = session.replay.records_read
        for record_count, topic in sorted(record_counts):
            total_records += record_count
            if record_count and total_records > self._limits.max_records:
                self._send_gap(session, topic, "limit")
        return True

    def _check_topic_bounds(self, session: Session, topic: str, bounds: LogBounds) -> int:
        """Call `check_retention` for one topic; positions that may be raised are raised."""
        assert session.min_offsets is not None and session.replay is not None  # noqa: PT018, S101
        offsets, clampable_offsets = (
            session.min_offsets[topic],
            session.replay.clampable_offsets.get(topic),
        )
        read_until = {
            partition: self.journal.start_offset(topic, partition)
            for partition in self._hub.topic_positions[topic].next_offsets
            if not self.is_waiting(topic, partition)
        }
        held_back = {p: o for p, o in offsets.items() if self.is_waiting(topic, p)}
        for partition in held_back:
            del offsets[partition]
        try:
            return self._check_readable(
                session.replay, offsets, clampable_offsets, read_until, bounds
            )
        finally:
            offsets.update(held_back)

    def _check_readable(
        self,
        replay: ReplayState,
        offsets: dict[int, int],
        clampable_offsets: dict[int, int] | None,
        read_until: Mapping[int, int],
        bounds: LogBounds,
    ) -> int:
        """Call `check_retention` for the partitions of one topic that have a leader."""
        made_at, now = replay.made_at, self._hub.wall_clock()
        may_clamp = clampable_offsets is not None
        bounds = limit_by_cursor_age(bounds, made_at, self._limits, now, may_clamp=may_clamp)
        if clampable_offsets is None:
            return check_retention(offsets, read_until, bounds, clampable_partitions=())
        clampable_partitions = {
            partition
            for partition in read_until
            if offsets.get(partition, 0) == clampable_offsets.get(partition, 0)
        }
        record_count = check_retention(
            offsets, read_until, bounds, clampable_partitions=clampable_partitions
        )
        clampable_offsets.update(
            {
                partition: offsets[partition]
                for partition in clampable_partitions
                if partition in offsets
            }
        )
        return record_count

    def remaining_bytes(self, scan: ScanState) -> int:
        """How many bytes may still be read for the session of `scan` with most left."""
        return self._limits.max_bytes - min(
            (
                session.replay.total_bytes_read(session.topics)
                for session in scan.subscriptions.all_sessions
                if session.replay is not None
            ),
            default=0,
        )

    def sessions_over_byte_limit(self, scan: ScanState) -> list[Session]:
        """The sessions of `scan` for which as many bytes were read as `ReplayLimits` allow."""
        return [
            session
            for session in scan.subscriptions.all_sessions
            if session.replay is not None
            and session.replay.total_bytes_read(session.topics) >= self._limits.max_bytes
        ]

    def send_limit_gaps(self, session: Session) -> None:
        """Remove `session` from its scan; send a gap for each topic that needs more of Kafka."""
        self.leave_scan(session)
        for topic in sorted({topic for topic, _ in self.missing_ranges(session)}):
            self._send_gap(session, topic, "limit")

    def drop_partition(
        self, scan: ScanState, topic: str, partition: int, reason: str | None
    ) -> list[Session]:
        """Continue `scan` without `partition`; remove and return its sessions that follow `topic`.

        Sessions that need the partition from there on get a gap for `reason`. Without a reason
        they have to be admitted again.
        """
        scan_offset = scan.next_offsets.get((topic, partition))
        if scan_offset is None:
            return []
        released = [
            session for session in scan.subscriptions.all_sessions if topic in session.topics
        ]
        for session in released:
            self.leave_scan(session)
            if session.min_offsets is None or session.replay is None:
                continue
            if session.min_offsets[topic].get(partition, 0) <= scan_offset:
                if reason is None:
                    session.replay.is_admitted = False
                else:
                    self._send_gap(session, topic, reason)
        del scan.next_offsets[topic, partition]
        return released

    def _send_gap(self, session: Session, topic: str, reason: str) -> None:
        self.gap_counts[reason] += 1
        reposition(session, self._hub.topic_positions[topic], from_beginning=reason == "recreated")
        self._hub.send(session, frames.Gap(topic, reason, self._hub.cursor(session)))

    # -- scans of Kafka --------------------------------------------------------------------------

    def can_serve(self, scan: ScanState, session: Session) -> bool:
        """True if `scan` reads all that `session` needs, and has not passed any of it."""
        if (
            session.min_offsets is None
            or not self.missing_ranges(session).keys() <= scan.next_offsets.keys()
        ):
            return False
        return all(
            session.min_offsets[topic].get(partition, 0) >= scan_offset
            for (topic, partition), scan_offset in scan.next_offsets.items()
            if topic in session.topics
        )

    def join_scan(self, scan: ScanState, session: Session) -> None:
        """Serve `session` by `scan`, for which `can_serve` holds."""
        assert session.replay is not None  # noqa: S101 - it is REPLAYING
        self._send_full_cursor(session, {topic for topic, _ in scan.next_offsets})
        session.replay.join_scan(scan)
        session.index = scan.subscriptions
        scan.subscriptions.add(session)

    def leave_scan(self, session: Session) -> None:
        """Remove `session` from its scan, if it has one; its positions become its own again."""
        replay, min_offsets = session.replay, session.min_offsets
        if replay is None or replay.scan_range is None or min_offsets is None:
            return
        for topic in session.topics:
            previous_offsets, min_offsets[topic] = (
                min_offsets[topic],
                replay_offsets(session, topic),
            )
            replay.records_read += sum(
                offset - previous_offsets.get(partition, 0)
                for partition, offset in min_offsets[topic].items()
            )
        replay.leave_scan(session.topics)
        if session.index is not None:
            session.index.remove(session)
            session.index = None

    def deliver_scanned(self, scan: ScanState, batch: DecodedBatch) -> list[Session]:
        """Send scanned events to the scan's sessions; remove and return those with a full outbox.

        Events that were sent before, or that the journal has, are skipped.
        """
        key = (batch.topic, batch.partition)
        scan_offset, journal_start = scan.next_offsets[key], self.journal.start_offset(*key)
        events = [event for event in batch.events if scan_offset <= event.offset < journal_start]
        full_sessions: list[Session] = []
        for group in group_by_audience(scan.subscriptions, events, self._hub.max_group_bytes):
            overflowed = deliver(group, *key, self._offer)
            if overflowed:
                scan.next_offsets[key] = group.events[0].offset
                for session in overflowed:
                    self.leave_scan(session)
                full_sessions += overflowed
        scan.next_offsets[key] = max(scan_offset, min(batch.next_offset, journal_start))
        if backfill := scan.backfills.get(key):
            self.journal.extend_backfill(backfill, events, scan.next_offsets[key])
        return full_sessions
