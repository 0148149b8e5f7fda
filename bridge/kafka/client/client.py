"""The brokers, asked directly: topics, offsets and record batches.

aiokafka's client keeps the connections and its parsers read the bytes; its consumer is not
used. Positions are ours, topics are read by their id, and what a broker answers is seen here
instead of in a log line (docs/decisions/0002-own-fetch.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.offset import OffsetRequest

from bridge.kafka.client.protocol import NO_ID, DescribeTopics, FetchById, FetchByName

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

#: What a request raises where the broker is away, busy or says no.
OUT_OF_REACH = (errors.KafkaError, OSError, TimeoutError)
#: The same of aiokafka's own clients: uvloop has another word for a connection just closed.
CUT_OFF = (*OUT_OF_REACH, RuntimeError)
EARLIEST, LATEST = -2, -1
_COMMITTED = 1
_TOPIC = 2  # among the kinds of resources that have a configuration
_TIMEOUT = 10.0


class Lane(IntEnum):
    """A connection to each broker, which answers one request of it after the other."""

    ASK = 0
    FEED = 1
    REPLAY = 2
    HISTORY = 3


class _LastWords(logging.Handler):
    """Keeps aiokafka's last error, which alone says why no broker could be asked.

    Its words about one outage would fill thousands of lines; `feed` says it once.
    """

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.message = record.getMessage()


_last_words = _LastWords(logging.ERROR)
logging.getLogger("aiokafka").addHandler(_last_words)
logging.getLogger("aiokafka").propagate = False


class Access(NamedTuple):
    """How to reach Kafka. `options` are aiokafka's: SASL, TLS and the client's name."""

    bootstrap_servers: str
    options: Mapping[str, Any]
    may_create_topics: bool = False
    fetch_wait_ms: int = 500


class Partition(NamedTuple):
    """One partition of a topic, by Kafka's name of it."""

    topic: str
    number: int


class Description(NamedTuple):
    """A topic that exists. `id` is None where the broker tells none; leaders are node ids."""

    id: uuid.UUID | None
    leaders: dict[int, int]


class Code(IntEnum):
    """The errors of a fetch that call for something else than another try (protocol, 1)."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT = 2


class Fetched(NamedTuple):
    """What a broker answered for one partition. `error` is a `Code` or another of Kafka's."""

    partition: Partition
    offset: int
    error: int
    end: int
    aborted: list[tuple[int, int]]
    data: bytes


class _NoTopics(set[str]):
    """The topics whose metadata aiokafka refreshes by itself: none, where empty would mean all.

    We describe our own, by id, and never create one by asking.
    """

    def __bool__(self) -> bool:
        return True


class Cluster:
    """One client of the brokers. Safe to use from many tasks.

    Every request raises one of `OUT_OF_REACH` where it fails.

    Cancellation: any request may be cancelled; its answer is then thrown away.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._client = AIOKafkaClient(
            bootstrap_servers=access.bootstrap_servers,
            request_timeout_ms=int(_TIMEOUT * 1000),
            **access.options,
        )
        self._client._topics = _NoTopics()  # noqa: SLF001 - there is no public way to ask for none

    async def connect(self) -> None:
        """Find the brokers, through any of the bootstrap servers; may be called again."""
        try:
            async with _reaching(_TIMEOUT * 2):
                await self._client.bootstrap()
        except errors.KafkaConnectionError as error:
            raise errors.KafkaConnectionError(_last_words.message or str(error)) from error

    async def close(self) -> None:
        """Let go of the connections."""
        with contextlib.suppress(RuntimeError):  # one of them was closed just now
            await self._client.close()

    async def describe(self, topics: Iterable[str]) -> dict[str, Description]:
        """Return those of `topics` that exist."""
        request = DescribeTopics(list(topics), create=self._access.may_create_topics)
        answer = await self._ask(self._any_node(), request)
        found: dict[str, Description] = {}
        for error, name, *rest in answer.topics:
            # Behind the name v5 has a flag and the partitions, v12 an id before them.
            id = rest[0] if isinstance(rest[0], uuid.UUID) else NO_ID
            partitions = next(field for field in rest if isinstance(field, list))
            if error == 0:
                leaders = {partition[1]: partition[2] for partition in partitions}
                found[name] = Description(None if id == NO_ID else id, leaders)
            elif error == errors.TopicAuthorizationFailedError.errno:
                raise errors.TopicAuthorizationFailedError(name)
        return found

    async def offsets(
        self, at: Mapping[Partition, int], leaders: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """Return the first offset at or after each timestamp (ms), or EARLIEST or LATEST.

        A partition is left out where its leader does not answer for it; the offset is -1 where no
        record is as young as the timestamp. LATEST is the end of what is committed.
        """
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for partition, timestamp in at.items():
            topics = by_node.setdefault(leaders.get(partition, -1), {})
            topics.setdefault(partition.topic, []).append((partition.number, timestamp))
        found: dict[Partition, int] = {}
        for node, topics in by_node.items():
            if node < 0:
                continue
            answer = await self._ask(node, OffsetRequest(-1, _COMMITTED, list(topics.items())))
            for topic, places in answer.topics:
                for number, error, _, offset, *_ in places:
                    if error == 0:
                        found[Partition(topic, number)] = offset
        return found

    async def fetch(
        self,
        node: int,
        wanted: Mapping[Partition, int],
        ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        lane: Lane = Lane.FEED,
    ) -> list[Fetched]:
        """Read committed records from these offsets; waits until there is one, or for the wait."""
        bounds = {
            "max_wait_ms": self._access.fetch_wait_ms if wait_ms is None else wait_ms,
            "max_bytes": max_bytes,
            "partition_bytes": max(max_bytes // 8, 65536),
        }
        by_topic: dict[str, dict[int, int]] = {}
        for partition, offset in wanted.items():
            by_topic.setdefault(partition.topic, {})[partition.number] = offset
        names = {id: topic for topic in by_topic if (id := ids.get(topic)) is not None}
        request: FetchById | FetchByName
        if len(names) == len(by_topic):
            request = FetchById({id: by_topic[name] for id, name in names.items()}, **bounds)
        else:
            request = FetchByName(by_topic, **bounds)
        answer = await self._ask(node, request, lane)
        if answer.error_code:
            raise errors.for_code(answer.error_code)
        return [
            _fetched(Partition(names.get(topic, topic), number), wanted, error, end, rest)
            for topic, places, *_ in answer.topics
            for number, error, end, *rest in places
        ]

    async def compacts(self, topic: str) -> bool:
        """Whether `topic` is compacted, or the broker does not say."""
        asked = [(_TOPIC, topic, ["cleanup.policy"])]
        try:
            answer = await self._ask(self._any_node(), DescribeConfigsRequest(asked))
        except errors.IncompatibleBrokerVersion:
            return True
        policies = [
            value
            for error, _, _, _, entries in answer.resources
            for name, value, *_ in entries or ()
            if error == 0 and name == "cleanup.policy"
        ]
        return policies != ["delete"]

    async def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Write `group`'s offsets, for Kafka's tools to show its lag; nobody reads them back."""
        topics: dict[str, list[tuple[int, int, str]]] = {}
        for partition, offset in offsets.items():
            topics.setdefault(partition.topic, []).append((partition.number, offset, ""))
        async with _reaching():
            node = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
        answer = await self._ask(node, OffsetCommitRequest(group, -1, "", -1, list(topics.items())))
        for _, places in answer.topics:
            for _, error in places:
                if error:
                    raise errors.for_code(error)

    async def committed(self, group: str) -> dict[Partition, int]:
        """Return the offsets that `group` has committed, whoever did it."""
        async with _reaching():
            node = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
        answer = await self._ask(node, OffsetFetchRequest(group, None))
        if answer.error_code:
            raise errors.for_code(answer.error_code)
        return {
            Partition(topic, number): offset
            for topic, places in answer.topics or ()  # the embedded broker knows no "all of them"
            for number, offset, _, error in places
            if error == 0 and offset >= 0
        }

    @property
    def brokers(self) -> int:
        """How many brokers are known."""
        return len(self._client.cluster.brokers())

    def _any_node(self) -> int:
        node: int | None = self._client.get_random_node()
        if node is None:
            raise errors.NodeNotReadyError("no broker is known yet")
        return node

    async def _ask(self, node: int, request: Any, lane: Lane = Lane.ASK) -> Any:
        async with _reaching():
            # aiokafka names two groups of connections; to its client any number is one.
            return await self._client.send(node, request, group=lane)


@contextlib.asynccontextmanager
async def _reaching(seconds: float = _TIMEOUT) -> AsyncIterator[None]:
    """Bound a request in time, and let every way in which a broker is away be out of reach."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except RuntimeError as error:  # uvloop's word for a connection that was closed just now
        raise errors.KafkaConnectionError(str(error)) from error


def _fetched(
    partition: Partition, wanted: Mapping[Partition, int], error: int, end: int, rest: list[Any]
) -> Fetched:
    _stable, _start, aborted, _replica, data, *_ = rest
    transactions = [(producer, first) for producer, first, *_ in aborted or ()]
    return Fetched(partition, wanted[partition], error, end, transactions, data or b"")
