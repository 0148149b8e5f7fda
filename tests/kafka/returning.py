"""An instance without its sockets, and clients of it that come back.

The rule kept here: from the feed to the frames it is the bridge's own; only what would be written
to a socket is put into a list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from bridge.core.journal import Journal
from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import Cursor, Place, read_cursor, write_cursor
from bridge.core.protocol.envelope import Router
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.retention import Limits
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.permissions import Grant
from bridge.core.sessions.session import Session
from bridge.kafka.client.client import OUT_OF_REACH
from bridge.kafka.consumer import Feed
from bridge.kafka.offsets import Horizon
from bridge.kafka.on_demand import Sleepers
from bridge.kafka.replay.scan import Source
from bridge.kafka.replay.scheduler import Replayer, Rules
from bridge.web.connections.pool import FLUSH_SLICE
from tests.harness.admin import fresh_name
from tests.kafka.pacing import PATIENCE
from tests.kafka.replay_client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from bridge.core.protocol.envelope import Batch
    from bridge.kafka.client.client import Cluster


def envelope(n: int = 0, *, to: str | None = None, size: int = 0) -> bytes:
    """An event for the account `to`, or for all."""
    audience = {"all": True} if to is None else {"accounts": [to]}
    return json.dumps({**audience, "data": f"{n}{'.' * size}"}).encode()


def envelopes(count: int, start: int = 0, **more: Any) -> list[bytes]:
    return [envelope(n, **more) for n in range(start, start + count)]


class Instance:
    """One bridge of these topics, under their own names, or all of one topic of Kafka's."""

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        *,
        of: str | None = None,
        journal: int = 1 << 26,
        limits: Limits | None = None,
        age: float = 10.0**9,
        passes: int = 2,
        wait: float = PATIENCE,
        warm: float = 0,
        ceiling: int = 1 << 20,
        linger: float | None = None,
    ) -> None:
        """Where topics `linger`, for seconds, they are read on demand."""
        names = {of: topics} if of is not None else {topic: [topic] for topic in topics}
        self.hub = Hub(
            "i1",
            dict.fromkeys(topics, False),
            heartbeat=25.0,
            ceiling=ceiling,
            jitter=lambda most: most,
            journal=Journal(journal),
            on_demand=() if linger is None else topics,
        )
        self.cluster = cluster
        self.catch_up = CatchUp(self.hub, limits or Limits(10**9, 1 << 40), ceiling)
        self._router = Router(1 << 24)
        self.sleepers = Sleepers(
            {} if linger is None else dict.fromkeys(names, linger),
            names,
            self.hub.demand.followed,
            wait_seconds=wait,
        )
        self.hub.demand.call = self.sleepers.call
        self.feed = Feed(
            cluster,
            fresh_name("group"),
            names,
            self,
            warm_seconds=warm,
            sleepers=self.sleepers,
        )
        self.source = Source(
            cluster, names, self.feed.ids, self.feed.partitions.leader, self._router.route
        )
        self.horizon = Horizon(
            cluster,
            {topic: of or topic for topic in topics},
            max_age_seconds=age,
            wall=lambda: self._wall or time.time(),
        )
        self.replayer = Replayer(
            self.catch_up,
            self.horizon,
            self.source,
            Rules(passes, wait),
            flush=self.flush,
            overloaded=self._overloaded,
        )
        self._wall = 0.0
        self._count = 0

    def judges_at(self, ms: int) -> None:
        """Let what may be replayed be judged as at this time."""
        self._wall = ms / 1000

    # -- what the feed says ----------------------------------------------------------------------

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        self.hub.begin(topic, identity, offsets)
        self._flush()

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        self.hub.skip(topic, reason, offsets)
        self._flush()

    def sleep(self, topic: str, identity: bytes) -> None:
        self.hub.demand.sleep(topic, identity)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.hub.publish(self._router.route(batch))
        await self.flush()

    async def flush(self) -> None:
        sessions = self.hub.flushable()
        for start in range(0, len(sessions), FLUSH_SLICE):
            if start:
                await asyncio.sleep(0)
            for session in sessions[start : start + FLUSH_SLICE]:
                session.pipe.flush()

    def _flush(self) -> None:
        for session in self.hub.flushable():
            session.pipe.flush()

    def _overloaded(self, session: Session) -> None:
        self.hub.hang_up(session, close_codes.OVERLOADED)
        self._flush()

    # -- clients ---------------------------------------------------------------------------------

    def _admit(self, account: str, topics: Iterable[str] | None, held: bool) -> Client:
        self._count += 1
        session = Session(f"c{self._count}", Grant(account), lambda text: text + b"\n", None)
        session.pipe = client = Client(self, session)
        client.held = held
        self.hub.follow(session, self.hub.logs if topics is None else topics, ())
        self.hub.demand.expect(session)
        return client

    def meet(self, account: str = "ann", topics: Iterable[str] | None = None) -> Client:
        """A client that was never here."""
        client = self._admit(account, topics, held=False)
        self.hub.attach(client.session)
        self._flush()
        return client

    def resume(
        self,
        cursor: str | Cursor,
        account: str = "ann",
        topics: Iterable[str] | None = None,
        *,
        held: bool = False,
    ) -> Client:
        """A client that comes back with `cursor`."""
        text = cursor if isinstance(cursor, str) else write_cursor(cursor)
        client = self._admit(account, topics, held)
        self.catch_up.begin(client.session, read_cursor(text), text)
        self.replayer.add(client.session)
        self._flush()
        return client

    async def since(self, ms: int, account: str = "ann") -> Client:
        """A client that asks for everything since a time."""
        client = self._admit(account, None, held=False)
        cursor = await self.replayer.since(client.session.topics, ms)
        if cursor is None:
            self.hub.attach(client.session)
            self._overloaded(client.session)
            return client
        self.catch_up.begin(client.session, cursor, write_cursor(cursor), clip=True)
        self.replayer.add(client.session)
        self._flush()
        return client

    async def wake(self, cursor: str | None = None, account: str = "ann") -> Client:
        """A client that is welcomed once all topics are awake; it may come back with `cursor`."""
        client = self._admit(account, None, held=False)
        assert await self.sleepers.awake(client.session.topics), "they did not wake in time"
        if cursor is None:
            self.hub.attach(client.session)
        else:
            self.catch_up.begin(client.session, read_cursor(cursor), cursor)
            self.replayer.add(client.session)
        self._flush()
        return client

    def at(self, *places: Mapping[int, int]) -> Cursor:
        """The cursor at these places in this instance's topics, in their order."""
        logs = self.hub.logs
        return {
            topic: Place(logs[topic].identity, dict(offsets))
            for topic, offsets in zip(logs, places, strict=False)
        }

    def replaying(self) -> int:
        return len(self.hub.replaying)


@contextlib.asynccontextmanager
async def running(cluster: Cluster, *topics: str, **options: Any) -> AsyncIterator[Instance]:
    """Run an instance; at the end nothing of it may have failed."""
    await cluster.connect()
    it = Instance(cluster, topics, **options)
    tasks = [asyncio.create_task(it.feed.run()), asyncio.create_task(it.replayer.run())]
    try:
        async with asyncio.timeout(PATIENCE):
            await it.feed.ready.wait()
        yield it
        assert it.feed.failures == 0, "reading failed, and was begun anew"
        assert not any(task.done() for task in tasks), "it has ended"
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, *OUT_OF_REACH):
                await task
        await cluster.close()
