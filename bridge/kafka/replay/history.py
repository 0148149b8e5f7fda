"""The making of one page of the past: from the journal, and where that does not reach from Kafka.

Rules: a page reads no more than it may, and not for long; what can not be read stands before a
page, never within it; and the live feed gets its turn between any two portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol.envelope import Batch
from bridge.core.replay.history import NotNow, Opening, Outlived, begin
from bridge.kafka.client.client import OUT_OF_REACH, Code, Lane, Partition
from bridge.kafka.client.record_batches import Aborted, Corrupt, unpack
from bridge.kafka.fetcher import STRIKES
from bridge.kafka.replay.scan import FETCH_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from bridge.core.replay.history import Asked, Page, Strand
    from bridge.core.replay.retention import Limits
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.client.client import Fetched
    from bridge.kafka.client.record_batches import Chunk
    from bridge.kafka.offsets import Horizon
    from bridge.kafka.replay.scan import Source
    from bridge.kafka.replay.scheduler import Rules

_log = logging.getLogger(__name__)

#: A page that has come on is answered as it is after so long.
PAGE_SECONDS = 10.0
#: A cursor may be older than what is replayed by so much: pages begin at its very edge.
GRACE_SECONDS = 600.0
#: So long what the feed has not read yet is left to it.
FEED_SECONDS = 0.5
#: Seconds for which the journal is looked through before everything else has its turn.
TURN_SECONDS = 0.005
_TICK = 0.01
_PAUSE = 0.2


class Shelf(NamedTuple):
    """What pages are made from. `stale` tells the seconds without Kafka, None while it answers."""

    hub: Hub
    horizon: Horizon
    source: Source
    stale: Callable[[], float | None]


class _Again(Exception):
    """A page has to be begun anew: what it began with does not hold any more."""


class _Enough(Exception):
    """A page has to end where it is."""


class Search:
    """The making of one page. `take_turn` waits until it may read from Kafka."""

    def __init__(
        self, shelf: Shelf, wait: float, limits: Limits, take_turn: Callable[[], Awaitable[object]]
    ) -> None:
        """`wait` is in seconds, for a turn and then for something to come."""
        self._shelf = shelf
        self._wait_seconds = wait
        self._limits = limits
        self._take_turn: Callable[[], Awaitable[object]] | None = take_turn
        self._now = asyncio.get_running_loop().time
        self._began = self._turn_began = self._now()
        self._damaged: dict[tuple[str, int], int] = {}
        self._strikes: dict[Partition, int] = {}
        self._edges: dict[Partition, int] = {}  # where a batch is known to begin
        self._records = 0
        self._bytes = 0

    async def run(self, asked: Asked) -> Page:
        """Return the page.

        Raises:
            NotNow: If Kafka is away, or too many ask.
        """
        while True:
            page = await self._begin(asked)
            try:
                await self._fill(page)
            except _Enough:
                page.cut()
            except (_Again, Outlived):
                self._look_at_the_time(None)
                continue
            return page

    # -- the beginning ---------------------------------------------------------------------------

    async def _begin(self, asked: Asked) -> Page:
        horizon, topics = self._shelf.horizon, asked.reader.topics
        while True:
            try:
                since = {} if asked.since is None else await horizon.since(topics, asked.since)
                bounds = await horizon.bounds(topics, grace=GRACE_SECONDS if asked.cursor else 0)
                opening = Opening(bounds, self._limits, since, self._damaged)
            except OUT_OF_REACH as error:
                _log.debug("history: bounds: %r", error)
                self._must_be_in_reach()
            else:
                page = begin(self._shelf.hub, asked, opening)
                if page is not None:
                    return page
            self._look_at_the_time(None)
            await asyncio.sleep(_PAUSE)

    def _must_be_in_reach(self) -> None:
        if self._shelf.stale() is not None:
            raise NotNow("Kafka does not answer now")

    def _look_at_the_time(self, page: Page | None) -> None:
        """End what takes too long: a page as it is where it has come on, else with a refusal."""
        spent = self._now() - self._began
        if page is not None and page.moved:
            if spent > PAGE_SECONDS:
                raise _Enough
        elif spent > self._wait_seconds:
            raise NotNow("Kafka does not answer in time")

    # -- looking ---------------------------------------------------------------------------------

    async def _fill(self, page: Page) -> None:
        journal = self._shelf.hub.journal
        if not all(page.is_kept(s, journal) or page.is_ahead(s) for s in page.wanted()):
            await self._have_turn()  # nothing is kept for one who waits
        while not page.merge():
            self._look_at_the_time(page)
            wanted = page.wanted()
            missing = [strand for strand in wanted if not await self._recall(page, strand)]
            if len(missing) < len(wanted):
                continue
            waited = self._now() - self._began
            if waited < FEED_SECONDS and all(page.is_ahead(strand) for strand in missing):
                await asyncio.sleep(_TICK)
            else:
                await self._read(page, missing)

    async def _recall(self, page: Page, strand: Strand) -> bool:
        if self._now() - self._turn_began > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_began = self._now()
        return page.recall(strand, self._shelf.hub.journal)

    async def _read(self, page: Page, strands: Iterable[Strand]) -> None:
        """Read some more of these from Kafka."""
        await self._have_turn()
        source = self._shelf.source
        by_node: dict[int, dict[Partition, int]] = {}
        for strand in strands:
            partition = Partition(source.kafka[strand.topic], strand.number)
            places = by_node.setdefault(source.leader(partition), {})
            places[partition] = min(strand.place, places.get(partition, strand.place))
        if not by_node.keys() - {-1}:
            await asyncio.sleep(_PAUSE)
        for node, places in by_node.items():
            if node < 0:
                continue
            self._may_read_on()
            page.check()
            try:
                if await self._read_from(page, node, places):
                    return
            except OUT_OF_REACH as error:
                _log.debug("history: node %d: %r", node, error)
                if page.moved and self._shelf.stale() is not None:
                    raise _Enough from None
                self._must_be_in_reach()
                await asyncio.sleep(_PAUSE)

    async def _read_from(self, page: Page, node: int, places: Mapping[Partition, int]) -> bool:
        """Read once from `node`; tell whether the page is done."""
        source, left = self._shelf.source, self._limits.bytes - self._bytes
        answers = await source.cluster.fetch(
            node,
            places,
            source.ids,
            max_bytes=min(FETCH_BYTES, left),
            wait_ms=0,
            lane=Lane.HISTORY,
        )
        for fetched in answers:
            await self._take(page, fetched)
            self._bytes += len(fetched.data)
            source.bytes += len(fetched.data)
            source.bytes += len(fetched.data)
            if page.merge():
                return True
        if not any(fetched.data or fetched.error for fetched in answers):
            await asyncio.sleep(_PAUSE)  # it was there a moment ago: a leader on the move
        return False

    async def _have_turn(self) -> None:
        """Wait for a turn to read from Kafka, once; it lasts until the page is done."""
        if self._take_turn is None:
            return
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._take_turn()
        except TimeoutError:
            raise NotNow("too many read the past from Kafka at once") from None
        self._take_turn = None
        self._began = self._now()

    def _may_read_on(self) -> None:
        if self._records >= self._limits.records or self._bytes >= self._limits.bytes:
            raise _Enough

    # -- what Kafka answers ----------------------------------------------------------------------

    async def _take(self, page: Page, fetched: Fetched) -> None:
        if fetched.error == Code.OFFSET_OUT_OF_RANGE:
            if page.moved:
                raise _Enough
            await asyncio.sleep(_PAUSE)
            raise _Again
        if fetched.error == Code.CORRUPT:
            await self._strike(page, fetched.partition, None)
        elif fetched.error:
            _log.debug("history: %s:%d: error %d", *fetched.partition, fetched.error)
            await asyncio.sleep(_PAUSE)  # leaders move, topics go: the feed will know
        else:
            try:
                await self._unpack(page, fetched)
            except Corrupt as corrupt:
                _log.debug("history: %s:%d: %s", *fetched.partition, corrupt)
                await self._strike(page, fetched.partition, corrupt.next)

    async def _unpack(self, page: Page, fetched: Fetched) -> None:
        partition, offset = fetched.partition, fetched.offset
        between = self._edges.get(partition) == offset
        aborted = Aborted(fetched.aborted)
        for chunk in unpack(fetched.data, offset, fetched.end, aborted, between=between):
            if chunk.first > offset and not await self._shelf.source.has_holes(partition.topic):
                raise Corrupt("the broker leaves out a batch", None)
            self._strikes.pop(partition, None)
            if not self._hand_on(page, partition, offset, chunk) or page.merge():
                return
            offset = chunk.next
            if chunk.whole:
                self._edges[partition] = offset
            await asyncio.sleep(0)
            self._turn_began = self._now()
            self._look_at_the_time(page)

    def _hand_on(self, page: Page, partition: Partition, offset: int, chunk: Chunk) -> bool:
        """Give `page` a portion, as large as may be read; tell whether it needs more."""
        source, left = self._shelf.source, self._limits.records - self._records
        records, following = chunk.records, chunk.next
        if len(records) > left:
            records = records[:left]
            following = records[-1].offset + 1
        self._records += len(records)
        source.records += len(records)
        reached = max((record.timestamp for record in records), default=None)
        hungry = False
        for name in source.names[partition.topic]:
            strand = page.strand(name, partition.number)
            if strand is not None and offset <= strand.place < following:
                routed = source.route(Batch(name, partition.number, records, following))
                wants = page.take(strand, routed.events, offset, following, reached)
                hungry |= wants and not page.is_kept(strand, self._shelf.hub.journal)
        self._may_read_on()
        return hungry

    async def _strike(self, page: Page, partition: Partition, following: int | None) -> None:
        """Try again some times, then begin behind what can not be read.

        A page that has come on before it ends there: so what it begins with is all that it misses.
        """
        strands = [
            strand
            for name in self._shelf.source.names[partition.topic]
            if (strand := page.strand(name, partition.number)) is not None
        ]
        if any(strand.place > strand.start for strand in strands):
            raise _Enough
        self._strikes[partition] = self._strikes.get(partition, 0) + 1
        if self._strikes[partition] < STRIKES:
            await asyncio.sleep(_PAUSE * 2 ** self._strikes[partition])
            return
        _log.error("history: %s:%d can not be read at %d", *partition, strands[0].place)
        for strand in strands:
            floor = self._shelf.hub.journal.floor(strand.topic, strand.number)
            beyond = floor if strand.place < floor else strand.end
            self._damaged[strand.topic, strand.number] = following or beyond
        raise _Again


#: Requests at a time, whatever they wait for.
AT_A_TIME = 100


class History:
    """Makes pages; `rules.passes` of them at a time read from Kafka, each within `limits`."""

    def __init__(self, shelf: Shelf, rules: Rules, limits: Limits) -> None:
        self._shelf = shelf
        self._rules = rules
        self._limits = limits
        self._turns = asyncio.Semaphore(rules.passes)
        self.asking = 0

    async def page(self, asked: Asked) -> Page:
        """Return the page that was asked for.

        Raises:
            NotNow: If Kafka is away, or too many ask.

        Cancellation: safe; nothing is read for it any more.
        """
        if self.asking >= AT_A_TIME:
            raise NotNow("too many ask for the past at once")
        self.asking += 1
        try:
            async with contextlib.AsyncExitStack() as turn:
                search = Search(
                    self._shelf,
                    self._rules.wait_seconds,
                    self._limits,
                    lambda: turn.enter_async_context(self._turns),
                )
                return await search.run(asked)
        finally:
            self.asking -= 1
