"""Sends requests to the brokers: topics, offsets and record batches.

aiokafka's client keeps the connections, and its parsers read the bytes. Its consumer is not used:
this client keeps positions, reads topics by id and sees errors (docs/decisions/0002-own-fetch.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import errors

from bridge.kafka.client.aiokafka_internals import (
    AIOKafkaClient,
    CoordinationType,
    DeleteGroupsRequest,
    DescribeConfigsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetRequest,
    check_aiokafka,
    disable_topic_refresh,
)
from bridge.kafka.client.fetch_sessions import SESSION_ERRORS, without_session
from bridge.kafka.client.protocol import (
    NO_ID,
    DescribeTopics,
    FetchById,
    FetchByName,
    FetchOptions,
)
from bridge.kafka.client.records.record_batches import MAX_BATCH_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from bridge.kafka.client.fetch_sessions import FetchChanges, FetchSession

_log = logging.getLogger(__name__)

#: What a request raises if the broker is away, busy or refuses it.
REQUEST_ERRORS = (errors.KafkaError, OSError, TimeoutError)
#: The same for aiokafka's own clients. uvloop raises RuntimeError on a connection just closed.
CLIENT_ERRORS = (*REQUEST_ERRORS, RuntimeError)
EARLIEST, LATEST = -2, -1
_READ_COMMITTED = 1
_TOPIC_RESOURCE = 2  # the resource type of topics in DescribeConfigs
_TIMEOUT_SECONDS = 10.0


class BrokerConnection(IntEnum):
    """Separate connections to each broker. A broker answers the requests of each one in order."""

    METADATA = 0
    CONSUMER = 1
    REPLAY = 2
    HISTORY = 3


class _LastErrorHandler(logging.Handler):
    """Keeps aiokafka's last error: only that has the reason why no broker could be reached.

    aiokafka would log thousands of lines about one outage. The consumer logs one.
    """

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.message = record.getMessage()


_last_error = _LastErrorHandler(logging.ERROR)
logging.getLogger("aiokafka").addHandler(_last_error)
logging.getLogger("aiokafka").propagate = False


class KafkaAccess(NamedTuple):
    """How to reach Kafka. `options` are aiokafka's: SASL, TLS and the client id."""

    bootstrap_servers: str
    options: Mapping[str, Any]
    may_create_topics: bool = False
    fetch_wait_ms: int = 500
    max_batch_bytes: int = MAX_BATCH_BYTES  #: to which a compressed batch may inflate
    rack: str = ""  #: of this instance, for reading from replicas in it (KIP-392)


class TopicPartition(NamedTuple):
    """One partition of a topic, with the topic's Kafka name."""

    topic: str
    number: int


class TopicDescription(NamedTuple):
    """An existing topic. `topic_id` is None if the broker sends none; leaders are node ids."""

    topic_id: uuid.UUID | None
    leaders: dict[int, int]
    in_sync_replicas: Mapping[int, Sequence[int]] = MappingProxyType({})


class FetchErrorCode(IntEnum):
    """The error codes of a fetch that need more than a retry (Kafka protocol, API key 1)."""

    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT = 2


class FetchedPartition(NamedTuple):
    """A broker's response for one partition. `error_code` is any of Kafka's error codes."""

    partition: TopicPartition
    fetch_offset: int
    error_code: int
    high_watermark: int
    aborted_transactions: list[tuple[int, int]]
    data: bytes
    preferred_replica: int = -1  #: the node to read from in the place of the leader, or -1


class KafkaClient:
    """Connections to all brokers, and the requests of the bridge. Many tasks may share one.

    Every request that fails raises one of `REQUEST_ERRORS`.

    Cancellation: any request may be cancelled. Its response is then discarded.
    """

    max_batch_bytes = MAX_BATCH_BYTES  #: to which a compressed batch may inflate
    rack = ""  #: of this instance

    def __init__(self, access: KafkaAccess) -> None:
        check_aiokafka()
        self._access = access
        self.max_batch_bytes = access.max_batch_bytes
        self.rack = access.rack
        self._client = AIOKafkaClient(
            bootstrap_servers=access.bootstrap_servers,
            request_timeout_ms=int(_TIMEOUT_SECONDS * 1000),
            **access.options,
        )
        disable_topic_refresh(self._client)
        self._compacted_topics: set[str] = set()

    async def connect(self) -> None:
        """Find the brokers through any of the bootstrap servers. May be called again."""
        try:
            async with _request_timeout(_TIMEOUT_SECONDS * 2):
                await self._client.bootstrap()
        except errors.KafkaConnectionError as error:
            raise errors.KafkaConnectionError(_last_error.message or str(error)) from error

    async def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(RuntimeError):  # uvloop, if a connection was closed just now
            await self._client.close()

    async def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        """Return descriptions of those `topics` that exist."""
        request = DescribeTopics(list(topics), allow_creation=self._access.may_create_topics)
        response = await self._send(self._any_node(), request)
        descriptions: dict[str, TopicDescription] = {}
        for error, name, *rest in response.topics:
            # After the name, v5 has a flag and the partitions. v12 has an id before them, and tags
            # at the end of each partition, behind its replicas: in sync, and offline.
            topic_id, in_sync_index = (
                (rest[0], -3) if isinstance(rest[0], uuid.UUID) else (NO_ID, -2)
            )
            partitions = next(field for field in rest if isinstance(field, list))
            if error == 0:
                leaders = {partition[1]: partition[2] for partition in partitions}
                in_sync = {partition[1]: partition[in_sync_index] for partition in partitions}
                descriptions[name] = TopicDescription(
                    None if topic_id == NO_ID else topic_id, leaders, in_sync
                )
            elif error == errors.TopicAuthorizationFailedError.errno:
                raise errors.TopicAuthorizationFailedError(name)
        return descriptions

    async def list_topics(self) -> list[str]:
        """Return the names of all topics that this client may describe."""
        request = DescribeTopics(None, allow_creation=False)
        response = await self._send(self._any_node(), request)
        return [name for error, name, *_ in response.topics if error == 0]

    async def list_offsets(
        self, timestamps: Mapping[TopicPartition, int], leaders: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return the first offset at or after each timestamp (ms), or at EARLIEST or LATEST.

        Partitions without an answer from their leader are left out, unless no leader answers at
        all: that raises. An offset is -1 if all records
        are older than the timestamp. LATEST is the end of the committed records.
        """
        by_node: dict[int, dict[str, list[tuple[int, int]]]] = {}
        for partition, timestamp in timestamps.items():
            topics = by_node.setdefault(leaders.get(partition, -1), {})
            topics.setdefault(partition.topic, []).append((partition.number, timestamp))
        offsets: dict[TopicPartition, int] = {}
        by_node.pop(-1, None)
        failures = 0
        for node, topics in by_node.items():
            request = OffsetRequest(-1, _READ_COMMITTED, list(topics.items()))
            try:
                response = await self._send(node, request)
            except REQUEST_ERRORS as failure:
                failures += 1
                if failures == len(by_node):
                    raise
                _log.debug("node %d does not list offsets: %r", node, failure)
                continue
            for topic, partitions in response.topics:
                for number, error, _, offset, *_ in partitions:
                    if error == 0:
                        offsets[TopicPartition(topic, number)] = offset
        return offsets

    async def fetch(
        self,
        node: int,
        offsets: Mapping[TopicPartition, int],
        topic_ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        connection: BrokerConnection = BrokerConnection.CONSUMER,
        session: FetchSession[TopicPartition] | None = None,
        rack: str = "",
    ) -> list[FetchedPartition]:
        """Read committed records from `offsets`; wait at most `wait_ms` for the first one.

        With a `session`, the response has only partitions with news (KIP-227). A leader may name
        a replica in `rack` in the place of records (KIP-392).
        """
        names_by_id: dict[uuid.UUID | str, str] = {
            topic_id: topic
            for topic in {partition.topic for partition in offsets}
            if (topic_id := topic_ids.get(topic)) is not None
        }

        async def send_fetch() -> Any:
            changes = (
                without_session(offsets)
                if session is None
                else session.begin_fetch(offsets, topic_ids)
            )
            options = FetchOptions(
                self._access.fetch_wait_ms if wait_ms is None else wait_ms,
                max_bytes,
                max(max_bytes // 8, 65536),
                changes.session_id,
                changes.epoch,
                rack,
            )
            return await self._send(node, _build_fetch(changes, topic_ids, options), connection)

        response = await send_fetch()
        if session is not None and response.error_code in SESSION_ERRORS:
            session.reset()  # the broker has dropped it: it restarted, or others took its room
            response = await send_fetch()
        if response.error_code:
            raise errors.for_code(response.error_code)
        if session is not None:
            session.accept(response.session_id)
        return [
            _fetched_partition(
                TopicPartition(names_by_id.get(topic, topic), number), offsets, error, end, rest
            )
            for topic, partitions, *_ in response.topics
            for number, error, end, *rest in partitions
        ]

    async def is_compacted(self, topic: str) -> bool:
        """Whether `topic` is compacted, or the broker cannot report it. True is cached."""
        if topic not in self._compacted_topics and await self._has_compaction(topic):
            self._compacted_topics.add(topic)
        return topic in self._compacted_topics

    async def _has_compaction(self, topic: str) -> bool:
        resources = [(_TOPIC_RESOURCE, topic, ["cleanup.policy"])]
        try:
            response = await self._send(self._any_node(), DescribeConfigsRequest(resources))
        except errors.IncompatibleBrokerVersion:
            return True
        policies = [
            value
            for error, _, _, _, entries in response.resources
            for name, value, *_ in entries or ()
            if error == 0 and name == "cleanup.policy"
        ]
        return policies != ["delete"]

    async def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Write `group`'s offsets for Kafka's tools, which show its lag. They are not read back."""
        topics: dict[str, list[tuple[int, int, str]]] = {}
        for partition, offset in offsets.items():
            topics.setdefault(partition.topic, []).append((partition.number, offset, ""))
        request = OffsetCommitRequest(group, -1, "", -1, list(topics.items()))
        response = await self._send(await self._coordinator(group), request)
        for _, partitions in response.topics:
            for _, error in partitions:
                if error:
                    raise errors.for_code(error)

    async def committed(self, group: str) -> dict[TopicPartition, int]:
        """Return the offsets of `group`, whichever member committed them."""
        response = await self._send(await self._coordinator(group), OffsetFetchRequest(group, None))
        if response.error_code:
            raise errors.for_code(response.error_code)
        return {
            TopicPartition(topic, number): offset
            for topic, partitions in response.topics
            or ()  # the embedded broker does not support "all partitions"
            for number, offset, _, error in partitions
            if error == 0 and offset >= 0
        }

    async def delete_group(self, group: str) -> None:
        """Delete a consumer group without members. One that does not exist is deleted already."""
        request = DeleteGroupsRequest([group])
        response = await self._send(await self._coordinator(group), request)
        for _, error in response.results:
            if error not in {0, errors.GroupIdNotFound.errno}:
                raise errors.for_code(error)

    @property
    def broker_count(self) -> int:
        """The number of known brokers."""
        return len(self._client.cluster.brokers())

    def _any_node(self) -> int:
        node: int | None = self._client.get_random_node()
        if node is None:
            raise errors.NodeNotReadyError("no broker is known yet")
        return node

    async def _send(
        self, node: int, request: Any, connection: BrokerConnection = BrokerConnection.METADATA
    ) -> Any:
        # aiokafka names two groups of connections. Its client accepts any number as a group.
        return await _try_twice(lambda: self._client.send(node, request, group=connection))

    async def _coordinator(self, group: str) -> int:
        """Return the node that coordinates a consumer group."""
        node: int = await _try_twice(
            lambda: self._client.coordinator_lookup(CoordinationType.GROUP, group)
        )
        return node


async def _try_twice(request: Callable[[], Awaitable[Any]]) -> Any:
    """Return the response of `request`. If its connection was closed, try once more on a new one.

    Brokers close idle connections, and those whose SASL session ended (KIP-368). All requests of
    this client may be repeated. Both tries together have the time of one.
    """
    async with _request_timeout():
        try:
            return await request()
        except RuntimeError as error:  # uvloop's, or one of Kafka's
            if isinstance(error, errors.KafkaError) and not isinstance(
                error, errors.KafkaConnectionError
            ):
                raise
            _log.debug("the connection was closed, trying once more error=%r", error)
            return await request()


@contextlib.asynccontextmanager
async def _request_timeout(timeout_seconds: float = _TIMEOUT_SECONDS) -> AsyncIterator[None]:
    """Limit a request in time. Raise `KafkaConnectionError` instead of uvloop's RuntimeError."""
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except errors.KafkaError:  # a RuntimeError too
        raise
    except RuntimeError as error:  # uvloop, if the connection was closed just now
        raise errors.KafkaConnectionError(str(error)) from error


def _build_fetch(
    changes: FetchChanges[TopicPartition],
    topic_ids: Mapping[str, uuid.UUID | None],
    options: FetchOptions,
) -> FetchById | FetchByName:
    """Return a request by topic ids, or by names if one of its topics has no id."""
    by_topic: dict[str, dict[int, int]] = {}
    for partition, offset in changes.offsets.items():
        by_topic.setdefault(partition.topic, {})[partition.number] = offset
    forgotten: dict[tuple[str, uuid.UUID | None], list[int]] = {}
    for partition, topic_id in changes.forgotten:
        forgotten.setdefault((partition.topic, topic_id), []).append(partition.number)
    by_id = {topic_ids.get(topic): offsets for topic, offsets in by_topic.items()}
    forgotten_by_id = {topic_id: numbers for (_, topic_id), numbers in forgotten.items()}
    if None in by_id or None in forgotten_by_id:
        forgotten_by_name = {topic: numbers for (topic, _), numbers in forgotten.items()}
        return FetchByName(by_topic, options, forgotten_by_name)
    return FetchById(
        {topic_id: offsets for topic_id, offsets in by_id.items() if topic_id is not None},
        options,
        {
            topic_id: numbers
            for topic_id, numbers in forgotten_by_id.items()
            if topic_id is not None
        },
    )


def _fetched_partition(
    partition: TopicPartition,
    offsets: Mapping[TopicPartition, int],
    error_code: int,
    high_watermark: int,
    fields: list[Any],
) -> FetchedPartition:
    _stable, _start, aborted, replica, data, *_ = fields
    transactions = [(producer_id, first_offset) for producer_id, first_offset, *_ in aborted or ()]
    return FetchedPartition(
        *(partition, offsets[partition], error_code, high_watermark, transactions),
        data or b"",
        replica,
    )
