"""The consumer: finds topics and partitions, and runs one fetch loop per broker.

Rules: no outage ends it, however long, even at the start. No record or batch stops the ones behind
it. Whatever cannot be read is reported as a gap, never skipped silently.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from difflib import get_close_matches
from typing import TYPE_CHECKING

from aiokafka import errors

from bridge.core.protocol.cursor import TOPIC_ID_BYTES
from bridge.core.protocol.topic_catalogue import NO_TOPICS
from bridge.kafka.client.client import EARLIEST, LATEST, REQUEST_ERRORS, TopicPartition
from bridge.kafka.client.loop_delay import LoopDelay
from bridge.kafka.fetcher import Fetcher, FetchErrors
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.partitions import AssignedPartitions

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Mapping

    from bridge.kafka.client.client import KafkaClient, TopicDescription
    from bridge.kafka.fetcher import RecordSink

_log = logging.getLogger(__name__)

COMMIT_INTERVAL_SECONDS = 1.0
_DELETE_GROUP_SECONDS = 3.0


class OffsetCommitter:
    """Commits the positions of `partitions` for the consumer group `group`."""

    def __init__(self, client: KafkaClient, group: str, partitions: AssignedPartitions) -> None:
        self._client = client
        self._group = group
        self._partitions = partitions

    async def run(self) -> None:
        """Commit every second, until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_INTERVAL_SECONDS)
            await self.commit()

    async def delete_group(self) -> None:
        """Delete the group, within a time limit: this instance commits no more."""
        try:
            async with asyncio.timeout(_DELETE_GROUP_SECONDS):
                await self._client.delete_group(self._group)
        except errors.GroupAuthorizationFailedError:
            _log.warning(
                "the consumer group stays in Kafka: this instance needs the right Delete on Group"
                " %s; or set BRIDGE_KAFKA__COMMIT=false",
                self._group,
            )
        except REQUEST_ERRORS as error:
            _log.debug("the group is not deleted: %r", error)

    async def commit(self) -> None:
        """Commit the positions that have changed."""
        offsets = self._partitions.uncommitted_offsets()
        if not offsets:
            return
        try:
            await self._client.commit(self._group, offsets)
        except REQUEST_ERRORS as error:
            _log.debug("not committed: %r", error)
        else:
            self._partitions.mark_committed(offsets)


METADATA_REFRESH_SECONDS = 2.0
#: Topics that do not exist are logged again after this long, at most so many of them.
ABSENT_REPORT_SECONDS = 600.0
MAX_LOGGED_TOPICS = 20
#: Partitions that one log line names.
MAX_LOGGED_PARTITIONS = 20
#: Kafka is out of reach once no broker has answered for this long.
UNREACHABLE_SECONDS = 3.0
#: An outage is over once brokers have answered for this long. Until then it is one outage.
STABLE_SECONDS = 5.0
#: A record that is stamped further in the future says nothing about when it was written. Kafka
#: refuses such records by default (message.timestamp.after.max.ms).
MAX_CLOCK_SKEW_SECONDS = 3600
#: What is read back of a partition in which such a record hides where the warm-up time begins.
MISLED_WARM_UP_RECORDS = 10_000
_REFRESH_DELAY_SECONDS = 0.2
#: The first activation waits this long, so that others share the metadata request.
_ACTIVATION_DELAY_SECONDS = 0.02


class Consumer:
    """Reads topics into `sink`. `public_names` maps Kafka's names to the public ones.

    Its commits for `group`, if there is one, serve Kafka's tools. It never reads them back.
    Before it is ready it reads the last `warm_seconds` of existing topics, and all of those in
    `from_beginning`. The topics of `active_topics` are read only while they have subscribers.
    """

    def __init__(
        self,
        client: KafkaClient,
        group: str | None,
        public_names: Mapping[str, str],
        sink: RecordSink,
        *,
        warm_seconds: float = 0,
        from_beginning: Collection[str] = (),
        active_topics: ActiveTopics | None = None,
        has_subscribers: Callable[[str], bool] = bool,
        partitions: AssignedPartitions | None = None,
        ready: asyncio.Event | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._public_names = public_names
        self._sink = sink
        self.active_topics = active_topics or ActiveTopics(NO_TOPICS, wait_seconds=0)
        self._has_subscribers = has_subscribers
        self.partitions = partitions or AssignedPartitions(
            public_names, self.active_topics.idle_topics
        )
        self._committer = None if group is None else OffsetCommitter(client, group, self.partitions)
        self._warm_seconds = warm_seconds
        self._from_beginning = frozenset(from_beginning)
        self._wall_clock = wall_clock
        self._refresh_requested = self.active_topics.refresh_requested
        self._fetch_tasks: dict[int, asyncio.Task[None]] = {}
        self._absent: set[str] = set()
        self._absent_reported_at = float("-inf")  # on the loop's clock
        self._last_contact_at: float | None = None
        self._is_unreachable = False
        self._reachable_since = 0.0  # since the last failure, on the loop's clock
        self._outage_began_at: float | None = None  # of the outage that is logged and not over
        self._topic_ids: dict[str, uuid.UUID | None] = {}
        self._fetcher = Fetcher(
            client,
            self.partitions,
            public_names,
            sink,
            FetchErrors(client, public_names, sink, self._refresh_requested),
            on_reachable=self._mark_reachable,
            request_refresh=self.request_refresh,
            on_delivered=self._update_ready,
        )
        self.ready = ready or asyncio.Event()  #: set once it has caught up
        self.loop_delay = LoopDelay()
        self.outages = 0
        self.reconnects = 0  #: how often it connected to the bootstrap servers again

    def stale_seconds(self) -> float | None:
        """Seconds since the last contact with Kafka; None if Kafka is reachable."""
        if not self._is_unreachable or self._last_contact_at is None:
            return None
        return round(asyncio.get_running_loop().time() - self._last_contact_at, 3)

    def lag(self) -> dict[str, int]:
        """Return the number of records in Kafka that were not read yet, by public topic."""
        lag = dict.fromkeys(self._public_names.values(), 0)
        for partition, state in self.partitions.states.items():
            if (topic := self._public_names.get(partition.topic)) is not None:
                lag[topic] += max(0, state.end_offset - state.offset)
        return lag

    @property
    def internal_errors(self) -> int:
        """How many unexpected exceptions reading has survived. Each is a bug."""
        return self._fetcher.internal_errors

    @property
    def topic_ids(self) -> Mapping[str, uuid.UUID | None]:
        """The topic ids that the sink has received, by Kafka's names."""
        return self._topic_ids

    def request_refresh(self) -> None:
        """Refresh topics, partitions and leaders soon."""
        self._refresh_requested.set()

    async def run(self) -> None:
        """Read until cancelled.

        Cancellation: safe. The group is deleted if Kafka responds within 3 s.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep_refreshing(tasks), name="consumer: metadata")
                if self._committer is not None:
                    tasks.create_task(self._committer.run(), name="consumer: commit")
                tasks.create_task(self.loop_delay.run(), name="consumer: delay of the loop")
        finally:
            if self._committer is not None:
                await self._committer.delete_group()

    # -- metadata --------------------------------------------------------------------------------

    async def _keep_refreshing(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._refresh_requested.clear()
            self._deactivate_unused()
            started_at = asyncio.get_running_loop().time()
            try:
                await self._refresh()
            except REQUEST_ERRORS as error:
                if self.loop_delay.was_late_since(started_at):
                    _log.debug("not counted, this event loop was late: %r", error)
                    self.request_refresh()
                else:
                    self._mark_unreachable(error)
                await self._reconnect()
            for node in self.partitions.nodes():
                if node not in self._fetch_tasks or self._fetch_tasks[node].done():
                    self._fetch_tasks[node] = tasks.create_task(
                        self._fetcher.fetch_from(node), name=f"consumer: node {node}"
                    )
            try:
                async with asyncio.timeout(METADATA_REFRESH_SECONDS):
                    await self._refresh_requested.wait()
                # One refresh serves all requests of this time.
                await asyncio.sleep(
                    _ACTIVATION_DELAY_SECONDS
                    if self.active_topics.to_activate(self._has_subscribers)
                    else _REFRESH_DELAY_SECONDS
                )
            except TimeoutError:
                pass

    def _deactivate_unused(self) -> None:
        now = asyncio.get_running_loop().time()
        for topic in self.active_topics.to_deactivate(self._has_subscribers, now):
            _log.info("stopped reading %s: it has no subscribers", topic)
            self.partitions.drop_topic(topic)
            self.active_topics.mark_idle(topic)
            self._report_idle(topic)

    def add_topic(self, topic: str, *, from_beginning: bool = False) -> None:
        """Read Kafka's `topic` too, from its end or `from_beginning`, as soon as possible.

        A topic on demand waits for its first subscriber.
        """
        self.active_topics.mark_idle(topic)
        self.partitions.add_topic(topic, from_beginning=from_beginning)
        self.request_refresh()

    def remove_topic(self, topic: str) -> None:
        """Stop reading Kafka's `topic`, and forget it."""
        self.partitions.remove_topic(topic)
        self.active_topics.remove(topic)
        self._topic_ids.pop(topic, None)

    def _report_idle(self, topic: str) -> None:
        topic_id = _identity(self._topic_ids.get(topic))
        self._sink.deactivate(self._public_names[topic], topic_id)

    async def _refresh(self) -> None:
        activating = self.active_topics.to_activate(self._has_subscribers)
        generation = self.partitions.generation
        descriptions = await self._client.describe_topics(self.partitions.topics)
        self._mark_reachable()
        if self._has_other_topics(generation):
            return
        self._report_missing(descriptions)
        await self._report_absent(descriptions)
        # A known topic may be missing here: this broker's metadata may be older.
        activating = {t for t in activating if t in descriptions or not self.partitions.is_known(t)}
        recreated = set(self.partitions.drop_recreated(descriptions))
        timestamps = self.partitions.update_metadata(descriptions, activating)
        self._report_waiting()
        leaders = {
            TopicPartition(topic, number): leader
            for topic, description in descriptions.items()
            for number, leader in description.leaders.items()
        }
        end_offsets = await self._client.list_offsets(timestamps, leaders) if timestamps else {}
        # A topic is activated with all partitions: one that started later would miss records.
        activated = {
            t for t in activating if all(p in end_offsets for p in timestamps if p.topic == t)
        }
        end_offsets = {
            p: end for p, end in end_offsets.items() if p.topic not in activating - activated
        }
        from_end = {
            p
            for p, timestamp in timestamps.items()
            if timestamp == LATEST and p.topic not in activating
        }
        start_offsets = await self._warm_up_offsets(end_offsets, from_end, leaders)
        if self._has_other_topics(generation):
            return
        for topic in self.active_topics.idle_topics & descriptions.keys():
            if (
                topic not in self._topic_ids
                or self._topic_ids[topic] != descriptions[topic].topic_id
            ):
                self._topic_ids[topic] = descriptions[topic].topic_id
                self._report_idle(topic)
        recreated -= self.active_topics.idle_topics
        for topic in [*descriptions, *(activated - descriptions.keys())]:
            topic_offsets = {
                p.number: offset for p, offset in start_offsets.items() if p.topic == topic
            }
            if topic_offsets or topic in recreated | activated:
                if topic in descriptions:
                    self._topic_ids[topic] = descriptions[topic].topic_id
                topic_id = _identity(self._topic_ids.get(topic))
                self._sink.start_reading(self._public_names[topic], topic_id, topic_offsets)
        for partition, offset in start_offsets.items():
            _log.info("reading %s:%d from offset %d", *partition, offset)
            self.partitions.start(partition, offset, leaders[partition], end_offsets[partition])
        self.active_topics.mark_active(activated)
        self._report_waiting()
        self._update_ready()

    def _has_other_topics(self, generation: int) -> bool:
        """Whether topics came or went since; what Kafka said meanwhile is asked anew."""
        has_others = self.partitions.generation != generation
        if has_others:
            self.request_refresh()
        return has_others

    def _report_missing(self, descriptions: Mapping[str, TopicDescription]) -> None:
        """Log once that a topic was deleted, and that it exists again."""
        added, ended = self.partitions.update_missing(
            descriptions, asyncio.get_running_loop().time()
        )
        for topic in added:
            _log.warning(
                "topic %s does not exist any more: its clients get nothing until it is created"
                " again; create it, or remove it from the settings",
                topic,
            )
        for topic in ended:
            _log.warning("topic %s exists again", topic)

    async def _report_absent(self, descriptions: Mapping[str, TopicDescription]) -> None:
        """Warn of topics that do not exist, at once and every ten minutes, with similar names."""
        absent = self.partitions.absent_topics(descriptions) - self._from_beginning
        now = asyncio.get_running_loop().time()
        is_due = now >= self._absent_reported_at + ABSENT_REPORT_SECONDS
        # What was deleted is logged by then.
        reported = absent if is_due else absent - self._absent - self.partitions.deleted_topics
        self._absent = absent
        if is_due:
            self._absent_reported_at = now
        if not reported:
            return
        names: list[str] = []
        with contextlib.suppress(*REQUEST_ERRORS):
            names = await self._client.list_topics()
        for topic in sorted(reported)[:MAX_LOGGED_TOPICS]:
            similar = ", ".join(get_close_matches(topic, names, n=3))
            _log.warning(
                "topic %s does not exist: its clients get nothing until it is created; create it,"
                " or correct BRIDGE_TOPICS similar=%s",
                topic,
                similar or "none",
            )
        if len(reported) > MAX_LOGGED_TOPICS:
            _log.warning("%d more topics do not exist", len(reported) - MAX_LOGGED_TOPICS)

    def _report_waiting(self) -> None:
        """Report which partitions wait for a leader. Nothing is awaited since leaders changed."""
        now, before = asyncio.get_running_loop().time(), self.partitions.waiting
        self.partitions.update_waiting(now)
        waiting = self.partitions.waiting
        if added := waiting - before:
            _log.warning(
                "partitions have no leader: the others are read on, and what these hold comes"
                " later; start the brokers that hold them partitions=%s",
                _join_partitions(added),
            )
        if returned := before - waiting:
            _log.warning("partitions are read again partitions=%s", _join_partitions(returned))
        wall = self._wall_clock()
        for topic in sorted({p.topic for p in waiting | before}):
            since = {
                p.number: wall - self.partitions.unread_seconds(p, now)
                for p in waiting
                if p.topic == topic
            }
            unread = {
                number: int(wall)
                for number in since
                if self.partitions.is_initial(TopicPartition(topic, number))
            }
            topic_id = _identity(self.partitions.topic_ids.get(topic))
            self._sink.set_waiting(self._public_names[topic], topic_id, since, unread)

    def _update_ready(self) -> None:
        if not self.ready.is_set() and self.partitions.has_caught_up:
            self.ready.set()

    async def _warm_up_offsets(
        self,
        end_offsets: dict[TopicPartition, int],
        from_end: set[TopicPartition],
        leaders: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Return start offsets that include the warm-up time of the partitions in `from_end`."""
        partitions = from_end & end_offsets.keys()
        warm_up_ms = int((self._wall_clock() - self._warm_seconds) * 1000)
        timestamps = {
            p: EARLIEST if p.topic in self._from_beginning else warm_up_ms for p in partitions
        }
        now = asyncio.get_running_loop().time()
        for partition in partitions & self.partitions.waiting:
            # Clients were welcomed without it: what was written before they came is not for them.
            seconds = self.partitions.unread_seconds(partition, now)
            timestamps[partition] = int((self._wall_clock() - seconds) * 1000)
        requested = (
            timestamps
            if self._warm_seconds
            else {p: timestamp for p, timestamp in timestamps.items() if timestamp != warm_up_ms}
        )
        found = await self._client.list_offsets(requested, leaders) if requested else {}
        whole = {p for p in found if p.topic in self._from_beginning}
        starts = {p: offset for p, offset in found.items() if 0 <= offset < end_offsets[p]}
        recent = await self._limit_warm_up(
            {p: offset for p, offset in starts.items() if p not in whole}, end_offsets, leaders
        )
        return end_offsets | starts | recent

    async def _limit_warm_up(
        self,
        starts: Mapping[TopicPartition, int],
        end_offsets: Mapping[TopicPartition, int],
        leaders: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        """Raise `starts` where a stamp in the future has misled Kafka, and to the limits."""
        if not starts:
            return {}
        future_ms = int((self._wall_clock() + MAX_CLOCK_SKEW_SECONDS) * 1000)
        misled = await self._client.list_offsets(dict.fromkeys(starts, future_ms), leaders)
        return self.partitions.warm_up.limit(
            {
                p: max(offset, end_offsets[p] - MISLED_WARM_UP_RECORDS)
                if misled.get(p) == offset
                else offset
                for p, offset in starts.items()
            },
            end_offsets,
        )

    async def _reconnect(self) -> None:
        self.reconnects += 1
        # The known brokers may be gone for good. Only the bootstrap servers know their successors.
        try:
            await self._client.connect()
        except REQUEST_ERRORS as error:
            _log.debug("no bootstrap server answers: %s", error)

    def _mark_reachable(self) -> None:
        now = asyncio.get_running_loop().time()
        self._last_contact_at = now
        if self._is_unreachable:
            self._is_unreachable = False
            self._reachable_since = now
        if self._outage_began_at is not None and now - self._reachable_since >= STABLE_SECONDS:
            seconds = self._reachable_since - self._outage_began_at
            self._outage_began_at = None
            _log.warning("Kafka is back after %.1f s", seconds)

    def _mark_unreachable(self, error: BaseException) -> None:
        """Begin an outage, if no broker has answered for some time, or ever.

        One broker of several that is away is no outage. Neither is a second failure soon after the
        first: that is the same outage.
        """
        now = asyncio.get_running_loop().time()
        last_contact_at = now if self._last_contact_at is None else self._last_contact_at
        if self._last_contact_at is not None and now - last_contact_at < UNREACHABLE_SECONDS:
            _log.debug("not an outage yet: %r", error)
            return
        self._last_contact_at = last_contact_at
        self._is_unreachable = True
        if self._outage_began_at is None:
            self._outage_began_at = last_contact_at
            self.outages += 1
            _log.warning("Kafka is out of reach, will keep trying: %r", error)


def _join_partitions(partitions: Collection[TopicPartition]) -> str:
    """Return `topic:number` of the first partitions, and how many more there are."""
    names = [f"{topic}:{number}" for topic, number in sorted(partitions)]
    more = len(names) - MAX_LOGGED_PARTITIONS
    return ",".join(names[:MAX_LOGGED_PARTITIONS]) + (f" and {more} more" if more > 0 else "")


def _identity(topic_id: uuid.UUID | None) -> bytes:
    return b"" if topic_id is None else topic_id.bytes[:TOPIC_ID_BYTES]
