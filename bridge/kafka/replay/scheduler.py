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

from bridge.core.sessions.session import Need
from bridge.kafka.client.client import OUT_OF_REACH
from bridge.kafka.replay.scan import Pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.replay.retention import Bounds
    from bridge.core.sessions.session import Session
    from bridge.kafka.offsets import Horizon
    from bridge.kafka.replay.scan import Source

T = TypeVar("T")
#: By public topic and partition: from which offset, up to which.
Missing: TypeAlias = "Mapping[tuple[str, int], tuple[int, int]]"

#: Who has this many times more to be read than another does not share with it.
_ALIKE = 4
#: Nobody minds so many records.
_FEW_RECORDS = 10_000
#: Sessions that are looked at before everything else has its turn.
_SLICE = 100


async def in_slices(sessions: Iterable[Session]) -> AsyncIterator[Session]:
    """Yield these, and let everything else have its turn now and then."""
    for number, session in enumerate(sessions, 1):
        yield session
        if number % _SLICE == 0:
            await asyncio.sleep(0)


def amount(missing: Missing) -> int:
    """Return how many offsets that is."""
    return sum(end - start for start, end in missing.values())


def may_share(left: int, needed: int) -> bool:
    """Whether one who needs so much can wait for a pass that has so much left to read."""
    return left <= _ALIKE * max(needed, _FEW_RECORDS)


def alike(apart: Mapping[T, Missing], *, least: bool) -> list[T]:
    """Those who need about as much as the first of them; or as the one who needs the least."""
    needs = {session: amount(missing) for session, missing in apart.items()}
    measure = min(needs.values()) if least else next(iter(needs.values()))
    return [
        session
        for session, needed in needs.items()
        if may_share(measure, needed) and may_share(needed, measure)
    ]


def lowest(all_missing: Iterable[Missing]) -> dict[tuple[str, int], int]:
    """Return where reading has to begin for all of these."""
    start: dict[tuple[str, int], int] = {}
    for missing in all_missing:
        for key, (place, _) in missing.items():
            start[key] = min(place, start.get(key, place))
    return start


_log = logging.getLogger(__name__)

#: So long the first who has to be judged waits for others to be judged with.
#: Questions for a time at once; the feed asks the brokers on the same connections.
QUESTIONS = 8
_PAUSE = 0.3


class Court:
    """Judges sessions; `judged` and `failed` get each of them back."""

    def __init__(
        self,
        catch_up: CatchUp,
        horizon: Horizon,
        *,
        judged: Callable[[Session], None],
        failed: Callable[[Session], None],
    ) -> None:
        self._catch_up = catch_up
        self._horizon = horizon
        self._judged = judged
        self._failed = failed
        self.waiting: dict[Session, None] = {}
        self._wake = asyncio.Event()
        self._questions = asyncio.Semaphore(QUESTIONS)

    def add(self, session: Session) -> None:
        """Judge `session` soon."""
        self.waiting[session] = None
        self._wake.set()

    def drop(self, session: Session) -> None:
        """Forget `session`, if it waits here."""
        self.waiting.pop(session, None)

    async def since(self, topics: Iterable[str], ms: int, *, within: float) -> Cursor | None:
        """Return the cursor of these topics at a time; None where it is not told within seconds.

        Cancellation: safe.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        async with self._questions:
                            return await self._horizon.since(topics, ms)
                    except OUT_OF_REACH as error:
                        _log.debug("since: %r", error)
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            return None

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            asking = tuple(self.waiting)
            await self._judge(asking)
            if self.waiting:
                self._wake.set()
                if not self.waiting.keys().isdisjoint(asking):
                    await asyncio.sleep(_PAUSE)

    async def _judge(self, sessions: Iterable[Session]) -> None:
        """Judge those for whom Kafka's answer is enough."""
        topics = {topic for session in sessions for topic in session.topics}
        bounds: dict[str, Bounds] = {}
        try:
            bounds = await self._horizon.bounds(topics)
        except OUT_OF_REACH as error:
            _log.debug("bounds: %r", error)
        except Exception:  # noqa: BLE001 - logged; a bug must not end the replay of everybody
            _log.exception("asking Kafka what may be replayed failed")
        async for session in in_slices(sessions):
            if session not in self.waiting:
                continue
            try:
                if self._catch_up.judge(session, bounds):
                    self.drop(session)
                    self._judged(session)
            except Exception:  # noqa: BLE001 - logged
                self._failed(session)


#: Seconds for which sessions are handed events before everything else has its turn.
TURN_SECONDS = 0.005
#: How often those are looked at whose clients have to read first, and those who wait too long.
LOOK_SECONDS = 0.01
OVERDUE_SECONDS = 0.25
#: So long the first who needs Kafka waits for others to share with.
GATHER_SECONDS = 0.03


class Rules(NamedTuple):
    """How many passes there may be at a time, and how long anybody waits for one (seconds)."""

    passes: int
    wait_seconds: float


class Cost(NamedTuple):
    """What coming back takes: records, bytes and passes so far; passes and clients now.

    Those who are `waiting` need Kafka, and no pass serves them yet.
    """

    records: int
    bytes: int
    passes: int
    running: int
    waiting: int


class Replayer:
    """Looks after the sessions that are between their welcome and live.

    Each of them is in one place: in its turn, with a client that has to read, not judged yet,
    waiting for a pass, or in one.
    """

    def __init__(
        self,
        catch_up: CatchUp,
        horizon: Horizon,
        source: Source,
        rules: Rules,
        *,
        flush: Callable[[], Awaitable[None]],
        overloaded: Callable[[Session], None],
    ) -> None:
        """`flush` writes what was queued; `overloaded` closes on one that has waited too long."""
        self._catch_up = catch_up
        self._court = Court(catch_up, horizon, judged=self.add, failed=self._fail)
        self._source = source
        self._rules = rules
        self._flush = flush
        self._overloaded = overloaded
        self._turns: deque[Session] = deque()
        self._reading: set[Session] = set()  # their clients have to read first
        self._waiting: dict[Session, None] = {}  # for a pass, in the order in which they came
        self._come: list[Session] = []  # of those who wait, the ones that were not looked at yet
        self._deadlines: dict[Session, float] = {}
        self._passes: dict[Pass, asyncio.Task[None]] = {}
        self._keeping: set[Pass] = set()  # those that the journal has had room for so far
        self._quick: Pass | None = None
        self._wake_turns = asyncio.Event()
        self._wake_passes = asyncio.Event()

    def add(self, session: Session) -> None:
        """Catch up `session`, which was welcomed."""
        self._turns.append(session)
        self._wake_turns.set()

    async def since(self, topics: Iterable[str], ms: int) -> Cursor | None:
        """Return the cursor of these topics at a time; None where Kafka does not tell it in time.

        Cancellation: safe.
        """
        return await self._court.since(topics, ms, within=self._rules.wait_seconds)

    @property
    def cost(self) -> Cost:
        """What all this takes."""
        source, waiting = self._source, len(self._deadlines)
        return Cost(source.records, source.bytes, source.passes, len(self._passes), waiting)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_turns(), name="replay: journal")
            tasks.create_task(self._court.run(), name="replay: judge")
            tasks.create_task(self._share_passes(tasks), name="replay: passes")
            tasks.create_task(self._look_after_waiting(), name="replay: waiting")

    def _fail(self, session: Session) -> None:
        """Close on `session`, which met a bug of ours: nobody else has to suffer it."""
        _log.exception("a replay failed")
        self._forget(session)
        self._overloaded(session)

    def _forget(self, session: Session) -> None:
        """Take `session` out of wherever it waits."""
        self._court.drop(session)
        self._waiting.pop(session, None)
        self._deadlines.pop(session, None)

    # -- from the journal, in turns --------------------------------------------------------------

    async def _take_turns(self) -> None:
        now = asyncio.get_running_loop().time
        look = now()
        while True:
            if not self._turns and not self._reading:
                self._wake_turns.clear()
                await self._wake_turns.wait()
            if self._reading and now() >= look:
                read = {s for s in self._reading if s.replay is None or not s.outbox.pending}
                self._reading -= read
                self._turns.extend(read)
                look = now() + LOOK_SECONDS
            until = now() + TURN_SECONDS
            while self._turns and now() < until:
                session = self._turns.popleft()
                try:
                    self._sort(session, self._catch_up.step(session))
                except Exception:  # noqa: BLE001 - logged
                    self._fail(session)
            await self._flush()
            await asyncio.sleep(0 if self._turns else LOOK_SECONDS)

    def _sort(self, session: Session, need: Need) -> None:
        if need is not Need.KAFKA:
            self._deadlines.pop(session, None)
        match need:
            case Need.TURN:
                self._turns.append(session)
            case Need.ROOM:
                self._reading.add(session)
            case Need.KAFKA:
                deadline = asyncio.get_running_loop().time() + self._rules.wait_seconds
                self._deadlines.setdefault(session, deadline)
                if session.replay is not None and session.replay.judged:
                    self._waiting[session] = None
                    self._come.append(session)
                    self._wake_passes.set()
                else:
                    self._court.add(session)

    # -- for as long as anybody waits ----------------------------------------------------------

    async def _look_after_waiting(self) -> None:
        while True:
            await asyncio.sleep(OVERDUE_SECONDS)
            now = asyncio.get_running_loop().time()
            for session, deadline in tuple(self._deadlines.items()):
                gone = session.replay is None
                if gone or now >= deadline:
                    self._forget(session)
                if not gone and now >= deadline:
                    self._overloaded(session)
            if any(not each.keeps for each in self._keeping):
                self._look_anew()  # some may have waited for what the journal has dropped

    # -- from Kafka, in shared passes ------------------------------------------------------------

    def _look_anew(self) -> None:
        """Look at all who wait for a pass, as something has changed for them."""
        self._keeping = {each for each in self._passes if each.keeps}
        self._come = list(self._waiting)
        self._wake_passes.set()

    async def _share_passes(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            await self._wake_passes.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake_passes.clear()
            come, self._come = self._come, []
            apart = await self._place_all(come)
            while apart and len(self._passes) < self._rules.passes:
                await self._begin(apart, tasks)
            await self._place_all(apart)  # perhaps one that has just begun takes them

    async def _place_all(self, sessions: Iterable[Session]) -> dict[Session, Missing]:
        """Place these, and return what those need who stand apart."""
        apart: dict[Session, Missing] = {}
        async for session in in_slices(sessions):
            try:
                if missing := self._place(session):
                    apart[session] = missing
            except Exception:  # noqa: BLE001 - logged
                self._fail(session)
        return apart

    def _place(self, session: Session) -> Missing | None:
        """Let `session` into a pass that can take it; else return what only Kafka has of it.

        Whom a pass came by already waits for it to end: by then the journal may have it all.
        """
        if session not in self._waiting:
            return None
        missing = self._catch_up.missing(session)
        full = len(self._passes) >= self._rules.passes
        near = [each for each in self._passes if full or may_share(each.left, amount(missing))]
        if not missing:
            self._is_served(session)
            self.add(session)
        elif journey := next((each for each in near if each.takes(session)), None):
            self._is_served(session)
            journey.enter(session)
        elif not any(each.covers(missing) for each in near):
            return missing
        return None

    async def _begin(self, apart: dict[Session, Missing], tasks: asyncio.TaskGroup) -> None:
        """Begin a pass for some of those who stand apart, and take them out of there.

        One pass is for those who need least. The others are for those who have waited longest, so
        that neither keep the others waiting.
        """
        quick = self._rules.passes > 1 and self._quick is None
        group = alike(apart, least=quick)
        gone = [apart.pop(session) for session in group]
        journey = Pass(self._catch_up, self._source, lowest(gone), apart=self._release)
        async for session in in_slices(group):
            if session not in self._waiting:
                continue
            if self._catch_up.missing(session) and journey.takes(session):
                self._is_served(session)
                journey.enter(session)
            else:  # it has gone meanwhile, or something else is true of it now
                self._come.append(session)
                self._wake_passes.set()
        self._quick = journey if quick else self._quick
        self._keeping.add(journey)
        self._source.passes += 1
        self._passes[journey] = tasks.create_task(self._pass(journey), name="replay: pass")

    def _is_served(self, session: Session) -> None:
        self._waiting.pop(session, None)
        self._deadlines.pop(session, None)

    async def _pass(self, journey: Pass) -> None:
        go_on: Callable[[Session], None] = self.add
        try:
            await journey.run(self._flush, self._rules.wait_seconds)
        except TimeoutError as error:
            _log.warning("a replay does not come on: %s", error)
            go_on = self._overloaded
        except Exception:  # noqa: BLE001 - logged; a bug must not leave anybody waiting
            _log.exception("a replay failed")
            go_on = self._overloaded
        finally:
            del self._passes[journey]  # nobody enters it any more
            self._quick = None if self._quick is journey else self._quick
            self._look_anew()
        async for session in in_slices(journey.sessions):
            self._catch_up.leave(session)
            go_on(session)

    def _release(self, sessions: Iterable[Session], *, full: bool) -> None:
        """Take back sessions that a pass can not serve any further."""
        if full:
            self._reading.update(sessions)
        else:
            self._turns.extend(sessions)
        self._wake_turns.set()
