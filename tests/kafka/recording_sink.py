"""A feed that runs, and the sink that writes down what it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from bridge.kafka.client.client import REQUEST_ERRORS, KafkaAccess, KafkaClient
from bridge.kafka.consumer import Consumer
from tests.harness.admin import fresh_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from bridge.core.protocol.record import Batch
    from bridge.kafka.client.client import TopicDescription

TIMEOUT_SECONDS = 90.0


class BeginCall(NamedTuple):
    """The feed said `begin`."""

    topic: str
    identity: bytes
    offsets: dict[int, int]


class SkipCall(NamedTuple):
    """The feed said `skip`."""

    topic: str
    reason: str
    offsets: dict[int, int]


class DeliveredRecord(NamedTuple):
    """The feed delivered this record."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


class RecordingSink:
    """A sink. `said` is everything in its order; while it is held, `deliver` does not return."""

    def __init__(self) -> None:
        self.calls: list[BeginCall | SkipCall | DeliveredRecord] = []
        self.next_offsets: dict[tuple[str, int], int] = {}
        self.waiting: dict[str, dict[int, float]] = {}
        self._changed = asyncio.Event()
        self._may_return = asyncio.Event()
        self._may_return.set()

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        self._record_call(BeginCall(topic, topic_id, dict(offsets)))

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        self._record_call(SkipCall(topic, reason, dict(offsets)))

    def set_waiting(
        self, topic: str, _topic_id: bytes, since: Mapping[int, float], _unread: Mapping[int, int]
    ) -> None:
        self.waiting[topic] = dict(since)

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        raise AssertionError(f"{topic} is not read on demand: {topic_id!r}")

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for record in batch.records:
                self._record_call(
                    DeliveredRecord(batch.topic, batch.partition, record.offset, record.value)
                )
            self.next_offsets[batch.topic, batch.partition] = batch.next_offset
        self._changed.set()
        await self._may_return.wait()

    def hold_delivery(self) -> None:
        self._may_return.clear()

    def release_delivery(self) -> None:
        self._may_return.set()

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition` of what is said; fail with all of it where it does not come."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; it was said: {self.calls}") from None

    async def wait_for_records(self, count: int) -> None:
        await self.wait_until(lambda: len(self.delivered()) >= count)

    def delivered(self) -> list[DeliveredRecord]:
        return [each for each in self.calls if isinstance(each, DeliveredRecord)]

    def begin_calls(self) -> list[BeginCall]:
        return [each for each in self.calls if isinstance(each, BeginCall)]

    def skip_calls(self) -> list[SkipCall]:
        return [each for each in self.calls if isinstance(each, SkipCall)]

    def values(self) -> list[bytes | None]:
        return [each.value for each in self.delivered()]

    def offsets_by_partition(self) -> dict[int, list[int]]:
        """The offsets that came, by partition, in the order in which they came."""
        offsets: dict[int, list[int]] = defaultdict(list)
        for each in self.delivered():
            offsets[each.partition].append(each.offset)
        return dict(offsets)

    def starts_by_topic_id(self) -> dict[bytes, dict[int, int]]:
        """Where each partition was begun, by the topic's identity, oldest first.

        Leaders of a young topic may answer one after the other: one life, begun in several steps.
        """
        starts: dict[bytes, dict[int, int]] = {}
        for each in self.begin_calls():
            offsets = starts.setdefault(each.identity, {})
            assert not offsets.keys() & each.offsets.keys(), f"begun twice: {self.begin_calls()}"
            offsets.update(each.offsets)
        return starts

    def _record_call(self, call: BeginCall | SkipCall | DeliveredRecord) -> None:
        self.calls.append(call)
        self._changed.set()


class HeldMetadataClient(KafkaClient):
    """A cluster whose topics are not looked at while its eyes are shut.

    Readers go on meanwhile: so a topic can live several lives between two looks.
    """

    def __init__(self, access: KafkaAccess) -> None:
        super().__init__(access)
        self._may_describe = asyncio.Event()
        self._may_describe.set()
        self._started_count = self._ended_count = 0
        self._described = asyncio.Event()

    async def hold_metadata(self) -> None:
        """Return once no look is on its way."""
        self._may_describe.clear()
        await self._wait_for_count(self._started_count)

    def release_metadata(self) -> None:
        self._may_describe.set()

    async def wait_for_refresh(self) -> None:
        """Return once the topics were looked at anew."""
        await self._wait_for_count(self._started_count + 1)

    async def _wait_for_count(self, count: int) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while self._ended_count < count:
                self._described.clear()
                await self._described.wait()

    async def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        await self._may_describe.wait()
        self._started_count += 1
        try:
            return await super().describe_topics(topics)
        finally:
            self._ended_count += 1
            self._described.set()


class RunningConsumer(NamedTuple):
    """A feed that is ready, and what it is made of."""

    consumer: Consumer
    sink: RecordingSink
    client: HeldMetadataClient
    group: str


def plaintext_access(bootstrap: str) -> KafkaAccess:
    return KafkaAccess(bootstrap, {"client_id": "test"})


@contextlib.asynccontextmanager
async def running_consumer(
    access: KafkaAccess, *topics: str, group: str | None = None
) -> AsyncIterator[RunningConsumer]:
    """Run a feed of `topics`, under their own names, as an instance would."""
    client, sink = HeldMetadataClient(access), RecordingSink()
    group = group or fresh_name("group")
    consumer = Consumer(client, group, {topic: topic for topic in topics}, sink)
    await client.connect()
    task = asyncio.create_task(consumer.run())
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await consumer.ready.wait()
        yield RunningConsumer(consumer, sink, client, group)
        assert consumer.internal_errors == 0, "reading failed, and was begun anew"
        assert not task.done(), "the feed has ended"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *REQUEST_ERRORS):
            await task
        await client.close()
