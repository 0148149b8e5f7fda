"""An instance without its sockets, and clients of it that come back.

The rule kept here: from the feed to the frames it is the bridge's own; only what would be written
to a socket is put into a list.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bridge.config.topics import TopicDefinition
from bridge.core.journal import Journal
from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor, encode_cursor
from bridge.core.protocol.topic_catalogue import TopicCatalogue
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.retention import ReplayLimits
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import Session
from bridge.kafka.client.client import REQUEST_ERRORS
from bridge.kafka.consumer import Consumer
from bridge.kafka.offsets import LogOffsets
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.partitions import NO_WARM_UP_LIMITS, AssignedPartitions, WarmUpLimits
from bridge.kafka.replay.scan import ScanSource
from bridge.kafka.replay.scheduler import ReplayScheduler, ScanLimits
from bridge.web.connections.flushing import BATCH_SIZE
from tests.harness.admin import fresh_name
from tests.kafka.held_replays import TIMEOUT_SECONDS
from tests.kafka.resuming_client import ResumingClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from bridge.core.protocol.record import Batch
    from bridge.kafka.client.client import KafkaClient


def envelope(n: int = 0, *, to: str | None = None, size: int = 0) -> bytes:
    """An event for the account `to`, or for all."""
    audience = {"all": True} if to is None else {"accounts": [to]}
    return json.dumps({**audience, "data": f"{n}{'.' * size}"}).encode()


@lru_cache(maxsize=8)  # some tests begin with a log of 30,000 records
def envelopes(count: int, start: int = 0, **options: Any) -> Sequence[bytes]:
    return tuple(envelope(n, **options) for n in range(start, start + count))


class HeadlessInstance:
    """One bridge of these topics, under their own names, or all of one topic of Kafka's."""

    def __init__(
        self,
        cluster: KafkaClient,
        topics: Sequence[str],
        *,
        journal: int = 1 << 26,
        limits: ReplayLimits | None = None,
        age: float = 10.0**9,
        passes: int = 2,
        wait: float = TIMEOUT_SECONDS,
        warm: float = 0,
        warm_limits: WarmUpLimits = NO_WARM_UP_LIMITS,
        wall_ms: int = 0,
        ceiling: int = 1 << 20,
        linger: float | None = None,
    ) -> None:
        """Where topics `linger`, for seconds, they are read on demand."""
        catalogue = TopicCatalogue.from_entries(
            TopicDefinition(
                name=topic,
                on_demand=linger is not None,
                linger_seconds=linger or 0,
            )
            for topic in topics
        )
        self._wall_seconds = wall_ms / 1000
        self.sleepers = ActiveTopics(catalogue, wait_seconds=wait)
        self.hub = Hub(
            "i1",
            dict.fromkeys(topics, False),
            heartbeat_seconds=25.0,
            max_outbox_bytes=ceiling,
            jitter=lambda most: most,
            wall_clock=self.wall_clock,
            journal=Journal(journal),
            on_demand_topics=() if linger is None else topics,
            on_first_subscriber=self.sleepers.request_activation if linger is not None else None,
        )
        self.cluster = cluster
        self.catch_up = CatchUp(self.hub, limits or ReplayLimits(10**9, 1 << 40, age), ceiling)
        self._router = native_decoder(1 << 24)
        self.feed = Consumer(
            cluster,
            fresh_name("group"),
            catalogue.public_names,
            self,
            warm_seconds=warm,
            active_topics=self.sleepers,
            partitions=AssignedPartitions(
                catalogue.public_names, self.sleepers.idle_topics, warm_limits
            ),
            wall_clock=self.wall_clock,
            has_subscribers=self.hub.on_demand.has_subscribers,
        )
        self.source = ScanSource(
            cluster,
            catalogue,
            self.feed.topic_ids,
            self.feed.partitions,
            self._router.decode,
        )
        self.horizon = LogOffsets(
            cluster,
            catalogue.kafka_names,
            max_age_seconds=age,
            wall_clock=self.wall_clock,
            waiting=lambda topic: self.hub.topic_positions[topic].waiting,
        )
        self.replayer = ReplayScheduler(
            self.catch_up,
            self.horizon,
            self.source,
            ScanLimits(passes, wait),
            flush=self.flush,
            on_overloaded=self._close_overloaded,
        )
        self._client_count = 0

    def wall_clock(self) -> float:
        return self._wall_seconds or time.time()

    def set_wall_ms(self, wall_ms: int) -> None:
        """Let what may be replayed be judged as at this time."""
        self._wall_seconds = wall_ms / 1000

    # -- what the feed says ----------------------------------------------------------------------

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        self.hub.set_start_offsets(topic, topic_id, offsets)
        self._flush()

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        self.hub.skip_unreadable(topic, reason, offsets)
        self._flush()

    def set_waiting(
        self, topic: str, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        self.hub.set_waiting(topic, topic_id, since, unread)

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        self.hub.on_demand.deactivate(topic, topic_id)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            self.hub.deliver_batch(self._router.decode(batch))
        await self.flush()

    async def flush(self) -> None:
        sessions = self.hub.pop_unflushed()
        for start in range(0, len(sessions), BATCH_SIZE):
            if start:
                await asyncio.sleep(0)
            for session in sessions[start : start + BATCH_SIZE]:
                session.connection.flush()

    def _flush(self) -> None:
        for session in self.hub.pop_unflushed():
            session.connection.flush()

    def _close_overloaded(self, session: Session) -> None:
        self.hub.close(session, close_codes.OVERLOADED)
        self._flush()

    # -- clients ---------------------------------------------------------------------------------

    def _admit(self, account: str, topics: Iterable[str] | None, is_held: bool) -> ResumingClient:
        self._client_count += 1
        session = Session(f"c{self._client_count}", Permissions(account), lambda text: text + b"\n")
        session.connection = client = ResumingClient(self, session)
        client.is_held = is_held
        self.hub.subscribe(session, self.hub.topic_positions if topics is None else topics, ())
        self.hub.on_demand.add_admitted(session)
        return client

    def connect_new(
        self, account: str = "ann", topics: Iterable[str] | None = None
    ) -> ResumingClient:
        """A client that was never here."""
        client = self._admit(account, topics, is_held=False)
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
    ) -> ResumingClient:
        """A client that comes back with `cursor`."""
        text = cursor if isinstance(cursor, str) else encode_cursor(cursor)
        client = self._admit(account, topics, held)
        self.catch_up.start(client.session, decode_cursor(text), text)
        self.replayer.add(client.session)
        self._flush()
        return client

    async def connect_since(self, ms: int, account: str = "ann") -> ResumingClient:
        """A client that asks for everything since a time."""
        client = self._admit(account, None, is_held=False)
        cursor = await self.replayer.cursor_at(client.session.topics, ms)
        if cursor is None:
            self.hub.attach(client.session)
            self._close_overloaded(client.session)
            return client
        self.catch_up.start(
            client.session, cursor, encode_cursor(cursor, int(self.wall_clock())), may_clamp=True
        )
        self.replayer.add(client.session)
        self._flush()
        return client

    async def connect_when_active(
        self, cursor: str | None = None, account: str = "ann"
    ) -> ResumingClient:
        """A client that is welcomed once all topics are awake; it may come back with `cursor`."""
        client = self._admit(account, None, is_held=False)
        assert await self.sleepers.wait_until_active(client.session.topics), (
            "they did not wake in time"
        )
        if cursor is None:
            self.hub.attach(client.session)
        else:
            self.catch_up.start(client.session, decode_cursor(cursor), cursor)
            self.replayer.add(client.session)
        self._flush()
        return client

    def cursor_at(self, *offsets_by_topic: Mapping[int, int]) -> Cursor:
        """The cursor at these places in this instance's topics, in their order."""
        logs = self.hub.topic_positions
        return {
            topic: TopicOffsets(logs[topic].topic_id, dict(offsets))
            for topic, offsets in zip(logs, offsets_by_topic, strict=False)
        }

    def replaying_count(self) -> int:
        return len(self.hub.replaying)


@contextlib.asynccontextmanager
async def running_instance(
    cluster: KafkaClient, *topics: str, **options: Any
) -> AsyncIterator[HeadlessInstance]:
    """Run an instance; at the end nothing of it may have failed."""
    await cluster.connect()
    instance = HeadlessInstance(cluster, topics, **options)
    tasks = [asyncio.create_task(instance.feed.run()), asyncio.create_task(instance.replayer.run())]
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await instance.feed.ready.wait()
        yield instance
        assert instance.feed.internal_errors == 0, "reading failed, and was begun anew"
        assert not any(task.done() for task in tasks), "it has ended"
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError, *REQUEST_ERRORS):
                await task
        await cluster.close()
