"""Runs replays of resumed sessions: from the journal in turns, from Kafka in shared scans.

Rules: sessions share scans if they can. Live delivery gets a turn between any two portions.
Overload is not a gap: a session that waits too long, or cannot be served, is closed with 4006.
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
#: By public topic and partition: the first offset, and the offset behind the last.
MissingRanges: TypeAlias = "Mapping[tuple[str, int], tuple[int, int]]"

#: Sessions share a scan only if their record counts differ by at most this factor.
_MAX_SIZE_RATIO = 4
#: A session that needs fewer records counts as needing this many: such a scan is short.
_SMALL_SCAN_RECORDS = 10_000
#: Sessions that are handled before the event loop gets a turn.
_SLICE_SESSIONS = 100


async def in_slices(sessions: Iterable[Session]) -> AsyncIterator[Session]:
    """Yield `sessions`, with a turn of the event loop after every `_SLICE_SESSIONS`."""
    for number, session in enumerate(sessions, 1):
        yield session
        if number % _SLICE_SESSIONS == 0:
            await asyncio.sleep(0)


def count_missing(missing: MissingRanges) -> int:
    """Return the number of offsets in all ranges."""
    return sum(end - start for start, end in missing.values())


def may_share(remaining_records: int, needed_records: int) -> bool:
    """Whether a session with `needed_records` may wait for a scan with `remaining_records`."""
    return remaining_records <= _MAX_SIZE_RATIO * max(needed_records, _SMALL_SCAN_RECORDS)


def similar_in_size(
    missing_by_session: Mapping[T, MissingRanges], *, prefer_smallest: bool
) -> list[T]:
    """Return the sessions that need about as much as the first one, or as the smallest one."""
    sizes = {session: count_missing(missing) for session, missing in missing_by_session.items()}
    reference_size = min(sizes.values()) if prefer_smallest else next(iter(sizes.values()))
    return [
        session
        for session, size in sizes.items()
        if may_share(reference_size, size) and may_share(size, reference_size)
    ]


def lowest_offsets(all_missing: Iterable[MissingRanges]) -> dict[tuple[str, int], int]:
    """Return the offsets from which one scan reads all of these."""
    offsets: dict[tuple[str, int], int] = {}
    for missing in all_missing:
        for key, (offset, _) in missing.items():
            offsets[key] = min(offset, offsets.get(key, offset))
    return offsets


_log = logging.getLogger(__name__)

#: Concurrent offset look-ups by time. They share the consumer's connections to the brokers.
MAX_TIME_LOOKUPS = 8
_RETRY_SECONDS = 0.3


class ReplayAdmission:
    """Checks sessions against Kafka's log bounds, then calls `on_admitted` or `on_failed`."""

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
        """Check `session` soon."""
        self.waiting[session] = None
        self._waiting_changed.set()

    def remove(self, session: Session) -> None:
        """Remove `session`, if it waits here."""
        self.waiting.pop(session, None)

    async def cursor_at(
        self, topics: Iterable[str], timestamp_ms: int, *, timeout_seconds: float
    ) -> Cursor | None:
        """Return the cursor at a time; None if Kafka does not answer within `timeout_seconds`.

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
        """Check sessions until cancelled. Each batch shares one request for log bounds."""
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
        """Admit the sessions that can be checked with the bounds that Kafka returns now."""
        topics = {topic for session in sessions for topic in session.topics}
        bounds: dict[str, LogBounds] = {}
        try:
            bounds = await self._log_offsets.log_bounds(topics)
            for session in sessions:
                if times := self._catch_up.awaited_times(session):
                    found = await self._log_offsets.find_awaited(times)
                    self._catch_up.set_awaited(session, found)
        except REQUEST_ERRORS as error:
            _log.debug("bounds: %r", error)
        except Exception:  # noqa: BLE001 - logged; a bug must not end all replays
            _log.exception("fetching log bounds for replays failed")
        async for session in in_slices(sessions):
            if session not in self.waiting:
                continue
            try:
                if self._catch_up.check_bounds(session, bounds):
                    self.remove(session)
                    self._on_admitted(session)
            except Exception:  # noqa: BLE001 - logged
                self._on_failed(session)


#: Seconds of journal replay before the event loop gets a turn.
YIELD_AFTER_SECONDS = 0.005
#: Seconds between checks of full outboxes, and of the deadlines of waiting sessions.
OUTBOX_CHECK_SECONDS = 0.01
DEADLINE_CHECK_SECONDS = 0.25
#: The first session that needs Kafka waits this long, so that others share its request.
BATCHING_DELAY_SECONDS = 0.03


class ScanLimits(NamedTuple):
    """How many scans may run at a time, and how long a session waits for one."""

    max_scans: int
    max_wait_seconds: float


class ReplayStats(NamedTuple):
    """The cost of replays: records, bytes and scans so far; scans and sessions now.

    `sessions_waiting` need Kafka, and no scan serves them yet.
    """

    records_read: int
    bytes_read: int
    scans_started: int
    scans_running: int
    sessions_waiting: int


class ReplayScheduler:
    """Schedules the sessions between `welcome` and live.

    Each session is in one place: runnable, blocked by a full outbox, not admitted yet, waiting for
    a scan, or in a scan.
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
        """`flush` writes queued frames. `on_overloaded` closes a session after too long a wait."""
        self._catch_up = catch_up
        self._admission = ReplayAdmission(
            catch_up, log_offsets, on_admitted=self.add, on_failed=self._fail
        )
        self._source = source
        self._scan_limits = scan_limits
        self._flush = flush
        self._on_overloaded = on_overloaded
        self._runnable: deque[Session] = deque()
        self._blocked: set[Session] = set()  # until their clients have read
        self._awaiting_scan: dict[Session, None] = {}  # in order of arrival
        self._newly_awaiting: list[Session] = []  # of `_awaiting_scan`: not assigned yet
        self._deadlines: dict[Session, float] = {}
        self._scans: dict[Scan, asyncio.Task[None]] = {}
        self._journaled_scans: set[Scan] = set()  # scans that the journal has held so far
        self._quick_scan: Scan | None = None
        self._runnable_changed = asyncio.Event()
        self._awaiting_changed = asyncio.Event()

    def add(self, session: Session) -> None:
        """Replay `session`, which has its `welcome`, until it is live."""
        self._runnable.append(session)
        self._runnable_changed.set()

    async def cursor_at(self, topics: Iterable[str], timestamp_ms: int) -> Cursor | None:
        """Return the cursor of these topics at a time; None if Kafka does not answer in time.

        Cancellation: safe.
        """
        return await self._admission.cursor_at(
            topics, timestamp_ms, timeout_seconds=self._scan_limits.max_wait_seconds
        )

    @property
    def stats(self) -> ReplayStats:
        """The current counts."""
        source, waiting = self._source, len(self._deadlines)
        return ReplayStats(
            source.records_read, source.bytes_read, source.scans_started, len(self._scans), waiting
        )

    async def run(self) -> None:
        """Schedule sessions until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_journal_replays(), name="replay: journal")
            tasks.create_task(self._admission.run(), name="replay: admission")
            tasks.create_task(self._start_scans(tasks), name="replay: scans")
            tasks.create_task(self._close_overdue(), name="replay: deadlines")

    def _fail(self, session: Session) -> None:
        """Close `session` after a bug, and log the exception. No other session is affected."""
        _log.exception("a replay failed")
        self._remove_waiting(session)
        self._on_overloaded(session)

    def _remove_waiting(self, session: Session) -> None:
        """Remove `session` from every place where it may wait."""
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

    # -- deadlines -----------------------------------------------------------------------------

    async def _close_overdue(self) -> None:
        while True:
            await asyncio.sleep(DEADLINE_CHECK_SECONDS)
            now = asyncio.get_running_loop().time()
            for session in self._catch_up.pop_returned():
                self.add(session)
            for session, deadline in tuple(self._deadlines.items()):
                has_left = session.replay is None
                if has_left or now >= deadline:
                    self._remove_waiting(session)
                if not has_left and now >= deadline:
                    self._on_overloaded(session)
            if any(not scan.fits_journal for scan in self._journaled_scans):
                self._recheck_waiting()  # the journal has dropped records that they waited for

    # -- from Kafka, in shared scans -------------------------------------------------------------

    def _recheck_waiting(self) -> None:
        """Assign all waiting sessions again: a scan ended, or the journal dropped records."""
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
            await self._assign_all(unassigned)  # a scan that has just started may accept them

    async def _assign_all(self, sessions: Iterable[Session]) -> dict[Session, MissingRanges]:
        """Assign `sessions` to scans; return the missing ranges of the others."""
        unassigned: dict[Session, MissingRanges] = {}
        async for session in in_slices(sessions):
            try:
                if missing := self._assign(session):
                    unassigned[session] = missing
            except Exception:  # noqa: BLE001 - logged
                self._fail(session)
        return unassigned

    def _assign(self, session: Session) -> MissingRanges | None:
        """Add `session` to a scan that accepts it; otherwise return its missing ranges.

        A session behind a running scan waits for it: afterwards the journal may hold everything it
        needs.
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
        """Start a scan for some of the `unassigned` sessions, and remove those from it.

        One scan is for the sessions that need least. The others are for those that have waited
        longest. So neither group delays the other.
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
            else:  # it left or changed meanwhile
                self._newly_awaiting.append(session)
                self._awaiting_changed.set()
        self._quick_scan = scan if is_quick else self._quick_scan
        self._journaled_scans.add(scan)
        self._source.scans_started += 1
        self._scans[scan] = tasks.create_task(self._run_scan(scan), name="replay: scan")

    def _stop_waiting(self, session: Session) -> None:
        self._awaiting_scan.pop(session, None)
        self._deadlines.pop(session, None)

    async def _run_scan(self, scan: Scan) -> None:
        next_action: Callable[[Session], None] = self.add
        try:
            await scan.run(self._flush, self._scan_limits.max_wait_seconds)
        except TimeoutError as error:
            _log.warning("a replay makes no progress: %s", error)
            next_action = self._on_overloaded
        except Exception:  # noqa: BLE001 - logged; a bug must not leave sessions waiting
            _log.exception("a replay failed")
            next_action = self._on_overloaded
        finally:
            del self._scans[scan]  # no session can join it any more
            self._quick_scan = None if self._quick_scan is scan else self._quick_scan
            self._recheck_waiting()
        async for session in in_slices(scan.sessions):
            self._catch_up.leave_scan(session)
            next_action(session)

    def _release(self, sessions: Iterable[Session], *, outbox_full: bool) -> None:
        """Schedule sessions again that a scan cannot serve any further."""
        if outbox_full:
            self._blocked.update(sessions)
        else:
            self._runnable.extend(sessions)
        self._runnable_changed.set()
