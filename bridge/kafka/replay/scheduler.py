"""Catches up those who come back: from the journal in turns, from Kafka in shared passes.

Rules: nobody reads Kafka alone who can share; busy is not a gap, so whoever waits too long for a
turn is told to come back later; the live feed gets its turn between any two portions; and a session
that can not be served is closed, never forgotten.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from bridge.core.replay.catchup import NextStep
from bridge.kafka.client.client import REQUEST_ERRORS
from bridge.kafka.replay.scan import Scan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.replay.retention import LogBounds
    from bridge.core.sessions.session import Session
    from bridge.kafka.offsets import LogOffsets
    from bridge.kafka.replay.scan import ScanSource

T = TypeVar("T")
#: By public topic and partition: from which offset, up to which.
MissingRanges: TypeAlias = "Mapping[tuple[str, int], tuple[int, int]]"

#: Who has this many times more to be read than another does not share with it.
_MAX_SIZE_RATIO = 4
#: Nobody minds so many records.
_SMALL_SCAN_RECORDS = 10_000
#: Sessions that are looked at before everything else has its turn.
_SLICE_SESSIONS = 100


async def in_slices(sessions: Iterable[Session]) -> AsyncIterator[Session]:
    """Yield these, and let everything else have its turn now and then."""
    for number, session in enumerate(sessions, 1):
        yield session
        if number % _SLICE_SESSIONS == 0:
            await asyncio.sleep(0)


def count_missing(missing: MissingRanges) -> int:
    """Return how many offsets that is."""
    return sum(end - start for start, end in missing.values())


def may_share(remaining_records: int, needed_records: int) -> bool:
    """Whether one who needs so much can wait for a pass that has so much left to read."""
    return remaining_records <= _MAX_SIZE_RATIO * max(needed_records, _SMALL_SCAN_RECORDS)


def similar_in_size(
    missing_by_session: Mapping[T, MissingRanges], *, prefer_smallest: bool
) -> list[T]:
    """Those who need about as much as the first of them; or as the one who needs the least."""
    sizes = {session: count_missing(missing) for session, missing in missing_by_session.items()}
    reference_size = min(sizes.values()) if prefer_smallest else next(iter(sizes.values()))
    return [
        session
        for session, size in sizes.items()
        if may_share(reference_size, size) and may_share(size, reference_size)
    ]


def lowest_offsets(all_missing: Iterable[MissingRanges]) -> dict[tuple[str, int], int]:
    """Return where reading has to begin for all of these."""
    offsets: dict[tuple[str, int], int] = {}
    for missing in all_missing:
        for key, (offset, _) in missing.items():
            offsets[key] = min(offset, offsets.get(key, offset))
    return offsets


_log = logging.getLogger(__name__)

#: So long the first who has to be judged waits for others to be judged with.
#: Questions for a time at once; the feed asks the brokers on the same connections.
MAX_TIME_LOOKUPS = 8
_RETRY_SECONDS = 0.3


class ReplayAdmission:
    """Judges sessions; `judged` and `failed` get each of them back."""

    def __init__(
        self,
        catch_up: CatchUp,
        log_offsets: LogOffsets,
        *,
        on_admitted: Callable[[Session], None],
        on_failed: Callable[[Session], None],
    ) -> None:
        self._catch_up = catch_up
        self._log_offsets = log_offsets
        self._on_admitted = on_admitted
        self._on_failed = on_failed
        self.waiting: dict[Session, None] = {}
        self._waiting_changed = asyncio.Event()
        self._lookup_slots = asyncio.Semaphore(MAX_TIME_LOOKUPS)

    def add(self, session: Session) -> None:
        """Judge `session` soon."""
        self.waiting[session] = None
        self._waiting_changed.set()

    def remove(self, session: Session) -> None:
        """Forget `session`, if it waits here."""
        self.waiting.pop(session, None)

    async def cursor_at(
        self, topics: Iterable[str], timestamp_ms: int, *, timeout_seconds: float
    ) -> Cursor | None:
        """Return the cursor of these topics at a time; None where it is not told within seconds.

        Cancellation: safe.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    try:
                        async with self._lookup_slots:
                            return await self._log_offsets.cursor_at(topics, timestamp_ms)
                    except REQUEST_ERRORS as error:
                        _log.debug("since: %r", error)
                        await asyncio.sleep(_RETRY_SECONDS)
        except TimeoutError:
            return None

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await self._waiting_changed.wait()
            await asyncio.sleep(BATCHING_DELAY_SECONDS)
            self._waiting_changed.clear()
            sessions = tuple(self.waiting)
            await self._admit(sessions)
            if self.waiting:
                self._waiting_changed.set()
                if not self.waiting.keys().isdisjoint(sessions):
                    await asyncio.sleep(_RETRY_SECONDS)

    async def _admit(self, sessions: Iterable[Session]) -> None:
        """Judge those for whom Kafka's answer is enough."""
        topics = {topic for session in sessions for topic in session.topics}
        bounds: dict[str, LogBounds] = {}
        try:
            bounds = await self._log_offsets.log_bounds(topics)
        except REQUEST_ERRORS as error:
            _log.debug("bounds: %r", error)
        except Exception:  # noqa: BLE001 - logged; a bug must not end the replay of everybody
            _log.exception("asking Kafka what may be replayed failed")
        async for session in in_slices(sessions):
            if session not in self.waiting:
                continue
            try:
                if self._catch_up.check_bounds(session, bounds):
                    self.remove(session)
                    self._on_admitted(session)
            except Exception:  # noqa: BLE001 - logged
                self._on_failed(session)


#: Seconds for which sessions are handed events before everything else has its turn.
YIELD_AFTER_SECONDS = 0.005
#: How often those are looked at whose clients have to read first, and those who wait too long.
OUTBOX_CHECK_SECONDS = 0.01
DEADLINE_CHECK_SECONDS = 0.25
#: So long the first who needs Kafka waits for others to share with.
BATCHING_DELAY_SECONDS = 0.03


class ScanLimits(NamedTuple):
    """How many passes there may be at a time, and how long anybody waits for one (seconds)."""

    max_scans: int
    max_wait_seconds: float


class ReplayStats(NamedTuple):
    """What coming back takes: records, bytes and passes so far; passes and clients now.

    Those who are `waiting` need Kafka, and no pass serves them yet.
    """

    records_read: int
    bytes_read: int
    scans_started: int
    scans_running: int
    sessions_waiting: int


class ReplayScheduler:
    """Looks after the sessions that are between their welcome and live.

    Each of them is in one place: in its turn, with a client that has to read, not judged yet,
    waiting for a pass, or in one.
    """

    def __init__(
        self,
        catch_up: CatchUp,
        log_offsets: LogOffsets,
        source: ScanSource,
        scan_limits: ScanLimits,
        *,
        flush: Callable[[], Awaitable[None]],
        on_overloaded: Callable[[Session], None],
    ) -> None:
        """`flush` writes what was queued; `on_overloaded` closes on one that has waited too long."""
        self._catch_up = catch_up
        self._admission = ReplayAdmission(
            catch_up, log_offsets, on_admitted=self.add, on_failed=self._fail
        )
        self._source = source
        self._scan_limits = scan_limits
        self._flush = flush
        self._on_overloaded = on_overloaded
        self._runnable: deque[Session] = deque()
        self._blocked: set[Session] = set()  # their clients have to read first
        self._awaiting_scan: dict[Session, None] = {}  # for a pass, in the order in which they came
        self._newly_awaiting: list[
            Session
        ] = []  # of those who wait, the ones that were not looked at yet
        self._deadlines: dict[Session, float] = {}
        self._scans: dict[Scan, asyncio.Task[None]] = {}
        self._journaled_scans: set[Scan] = set()  # those that the journal has had room for so far
        self._quick_scan: Scan | None = None
        self._runnable_changed = asyncio.Event()
        self._awaiting_changed = asyncio.Event()

    def add(self, session: Session) -> None:
        """Catch up `session`, which was welcomed."""
        self._runnable.append(session)
        self._runnable_changed.set()

    async def cursor_at(self, topics: Iterable[str], timestamp_ms: int) -> Cursor | None:
        """Return the cursor of these topics at a time; None where Kafka does not tell it in time.

        Cancellation: safe.
        """
        return await self._admission.cursor_at(
            topics, timestamp_ms, timeout_seconds=self._scan_limits.max_wait_seconds
        )

    @property
    def stats(self) -> ReplayStats:
        """What all this takes."""
        source, waiting = self._source, len(self._deadlines)
        return ReplayStats(
            source.records_read, source.bytes_read, source.scans_started, len(self._scans), waiting
        )

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_journal_replays(), name="replay: journal")
            tasks.create_task(self._admission.run(), name="replay: judge")
            tasks.create_task(self._start_scans(tasks), name="replay: passes")
            tasks.create_task(self._close_overdue(), name="replay: waiting")

    def _fail(self, session: Session) -> None:
        """Close on `session`, which met a bug of ours: nobody else has to suffer it."""
        _log.exception("a replay failed")
        self._remove_waiting(session)
        self._on_overloaded(session)

    def _remove_waiting(self, session: Session) -> None:
        """Take `session` out of wherever it waits."""
        self._admission.remove(session)
        self._awaiting_scan.pop(session, None)
        self._deadlines.pop(session, None)

    # -- from the journal, in turns --------------------------------------------------------------

    async def _run_journal_replays(self) -> None:
        now = asyncio.get_running_loop().time
        next_check_at = now()
        while True:
            if not self._runnable and not self._blocked:
                self._runnable_changed.clear()
                await self._runnable_changed.wait()
            if self._blocked and now() >= next_check_at:
                unblocked = {
                    s for s in self._blocked if s.replay is None or not s.outbox.pending_bytes
                }
                self._blocked -= unblocked
                self._runnable.extend(unblocked)
                next_check_at = now() + OUTBOX_CHECK_SECONDS
            yield_at = now() + YIELD_AFTER_SECONDS
            while self._runnable and now() < yield_at:
                session = self._runnable.popleft()
                try:
                    self._schedule(session, self._catch_up.advance(session))
                except Exception:  # noqa: BLE001 - logged
                    self._fail(session)
            await self._flush()
            await asyncio.sleep(0 if self._runnable else OUTBOX_CHECK_SECONDS)

    def _schedule(self, session: Session, next_step: NextStep) -> None:
        if next_step is not NextStep.READ_KAFKA:
            self._deadlines.pop(session, None)
        match next_step:
            case NextStep.CONTINUE:
                self._runnable.append(session)
            case NextStep.WAIT_FOR_CLIENT:
                self._blocked.add(session)
            case NextStep.READ_KAFKA:
                deadline = asyncio.get_running_loop().time() + self._scan_limits.max_wait_seconds
                self._deadlines.setdefault(session, deadline)
                if session.replay is not None and session.replay.is_admitted:
                    self._awaiting_scan[session] = None
                    self._newly_awaiting.append(session)
                    self._awaiting_changed.set()
                else:
                    self._admission.add(session)

    # -- for as long as anybody waits ----------------------------------------------------------

    async def _close_overdue(self) -> None:
        while True:
            await asyncio.sleep(DEADLINE_CHECK_SECONDS)
            now = asyncio.get_running_loop().time()
            for session, deadline in tuple(self._deadlines.items()):
                has_left = session.replay is None
                if has_left or now >= deadline:
                    self._remove_waiting(session)
                if not has_left and now >= deadline:
                    self._on_overloaded(session)
            if any(not scan.fits_journal for scan in self._journaled_scans):
                self._recheck_waiting()  # some may have waited for what the journal has dropped

    # -- from Kafka, in shared passes ------------------------------------------------------------

    def _recheck_waiting(self) -> None:
        """Look at all who wait for a pass, as something has changed for them."""
        self._journaled_scans = {scan for scan in self._scans if scan.fits_journal}
        self._newly_awaiting = list(self._awaiting_scan)
        self._awaiting_changed.set()

    async def _start_scans(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._awaiting_changed.wait()
            await asyncio.sleep(BATCHING_DELAY_SECONDS)
            self._awaiting_changed.clear()
            sessions, self._newly_awaiting = self._newly_awaiting, []
            unassigned = await self._assign_all(sessions)
            while unassigned and len(self._scans) < self._scan_limits.max_scans:
                await self._start_scan(unassigned, tasks)
            await self._assign_all(unassigned)  # perhaps one that has just begun takes them

    async def _assign_all(self, sessions: Iterable[Session]) -> dict[Session, MissingRanges]:
        """Place these, and return what those need who stand apart."""
        unassigned: dict[Session, MissingRanges] = {}
        async for session in in_slices(sessions):
            try:
                if missing := self._assign(session):
                    unassigned[session] = missing
            except Exception:  # noqa: BLE001 - logged
                self._fail(session)
        return unassigned

    def _assign(self, session: Session) -> MissingRanges | None:
        """Let `session` into a pass that can take it; else return what only Kafka has of it.

        Whom a pass came by already waits for it to end: by then the journal may have it all.
        """
        if session not in self._awaiting_scan:
            return None
        missing = self._catch_up.missing_ranges(session)
        is_full = len(self._scans) >= self._scan_limits.max_scans
        candidates = [
            candidate
            for candidate in self._scans
            if is_full or may_share(candidate.remaining_records, count_missing(missing))
        ]
        if not missing:
            self._stop_waiting(session)
            self.add(session)
        elif scan := next(
            (candidate for candidate in candidates if candidate.accepts(session)), None
        ):
            self._stop_waiting(session)
            scan.add(session)
        elif not any(candidate.will_cover(missing) for candidate in candidates):
            return missing
        return None

    async def _start_scan(
        self, unassigned: dict[Session, MissingRanges], tasks: asyncio.TaskGroup
    ) -> None:
        """Begin a pass for some of those who stand apart, and take them out of there.

        One pass is for those who need least. The others are for those who have waited longest, so
        that neither keep the others waiting.
        """
        is_quick = self._scan_limits.max_scans > 1 and self._quick_scan is None
        group = similar_in_size(unassigned, prefer_smallest=is_quick)
        missing_ranges = [unassigned.pop(session) for session in group]
        scan = Scan(
            self._catch_up, self._source, lowest_offsets(missing_ranges), release=self._release
        )
        async for session in in_slices(group):
            if session not in self._awaiting_scan:
                continue
            if self._catch_up.missing_ranges(session) and scan.accepts(session):
                self._stop_waiting(session)
                scan.add(session)
            else:  # it has gone meanwhile, or something else is true of it now
                self._newly_awaiting.append(session)
                self._awaiting_changed.set()
        self._quick_scan = scan if is_quick else self._quick_scan
        self._journaled_scans.add(scan)
        self._source.scans_started += 1
        self._scans[scan] = tasks.create_task(self._run_scan(scan), name="replay: pass")

    def _stop_waiting(self, session: Session) -> None:
        self._awaiting_scan.pop(session, None)
        self._deadlines.pop(session, None)

    async def _run_scan(self, scan: Scan) -> None:
        next_action: Callable[[Session], None] = self.add
        try:
            await scan.run(self._flush, self._scan_limits.max_wait_seconds)
        except TimeoutError as error:
            _log.warning("a replay does not come on: %s", error)
            next_action = self._on_overloaded
        except Exception:  # noqa: BLE001 - logged; a bug must not leave anybody waiting
            _log.exception("a replay failed")
            next_action = self._on_overloaded
        finally:
            del self._scans[scan]  # nobody enters it any more
            self._quick_scan = None if self._quick_scan is scan else self._quick_scan
            self._recheck_waiting()
        async for session in in_slices(scan.sessions):
            self._catch_up.leave_scan(session)
            next_action(session)

    def _release(self, sessions: Iterable[Session], *, outbox_full: bool) -> None:
        """Take back sessions that a pass can not serve any further."""
        if outbox_full:
            self._blocked.update(sessions)
        else:
            self._runnable.extend(sessions)
        self._runnable_changed.set()
