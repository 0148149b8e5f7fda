"""Requests that aiokafka does not have: metadata and fetches by topic id (KIP-516).

Rule: fetch by id. By name, a topic that was recreated and has grown past our position is read on
without an error. Brokers before 3.1 and librdkafka's mock get aiokafka's versions, by name.
"""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.kafka.client.aiokafka_internals import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    FetchRequest_v11,
    Int8,
    Int16,
    Int32,
    Int64,
    MetadataRequest_v5,
    Request,
    RequestStruct,
    Response,
    Schema,
    TaggedFields,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BytesIO

NO_ID = uuid.UUID(int=0)


class Uuid(AbstractType[uuid.UUID]):
    """A UUID of sixteen bytes."""

    @classmethod
    def encode(cls, value: uuid.UUID) -> bytes:
        """Return the sixteen bytes of `value`."""
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> uuid.UUID:
        """Read sixteen bytes."""
        return uuid.UUID(bytes=data.read(16))


class FixedHeadSchema(Schema):
    """A schema whose first fields have a fixed width and are encoded in one step.

    Encoded one by one they were most of the cost of a fetch request. Each partition has one of
    these, several hundred times a second.
    """

    def __init__(self, head_format: str, *fields: Any) -> None:
        """`head_format` is a format of `struct` for the first fields."""
        super().__init__(*fields)
        self._head_struct = struct.Struct(head_format)
        self._head_count = len(self._head_struct.unpack(bytes(self._head_struct.size)))

    def encode(self, item: Sequence[Any]) -> bytes:
        """Return the bytes of all fields in `item`."""
        tail: bytes = super().encode(item[self._head_count :])
        return self._head_struct.pack(*item[: self._head_count]) + tail

    def decode(self, data: BytesIO) -> tuple[Any, ...]:
        """Read all fields."""
        return (*self._head_struct.unpack(data.read(self._head_struct.size)), *super().decode(data))


class MetadataResponse_v12(Response):  # noqa: N801 - named like aiokafka's
    """Brokers and topics with their ids."""

    API_KEY = 3
    API_VERSION = 12
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class MetadataRequest_v12(RequestStruct):  # noqa: N801 - named like aiokafka's
    """The topics, and whether the request may create them."""

    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 12
    RESPONSE_TYPE = MetadataResponse_v12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)
            ),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class DescribeTopics(Request[MetadataRequest_v5 | MetadataRequest_v12]):
    """Requests ids, partitions and leaders, of all topics if `topics` is None.

    `allow_creation` lets the broker create the topics.
    """

    API_KEY = 3

    def __init__(self, topics: Sequence[str] | None, *, allow_creation: bool) -> None:
        self._topics = topics
        self._allow_creation = allow_creation

    def build(self, request_struct_class: Any) -> Any:
        """Build the version that the broker supports."""
        if request_struct_class is MetadataRequest_v12:
            entries: Any = (
                None if self._topics is None else [(NO_ID, topic, {}) for topic in self._topics]
            )
            return MetadataRequest_v12(entries, self._allow_creation, False, {})  # noqa: FBT003
        return MetadataRequest_v5(self._topics, self._allow_creation)


class FetchResponse_v13(Response):  # noqa: N801 - named like aiokafka's
    """Record batches by topic id and partition."""

    API_KEY = 1
    API_VERSION = 13
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("session_id", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    CompactArray(
                        FixedHeadSchema(
                            # partition, error code, high watermark, last stable offset, log start
                            ">ihqqq",
                            (
                                "aborted_transactions",
                                CompactArray(
                                    ("producer_id", Int64),
                                    ("first_offset", Int64),
                                    ("tags", TaggedFields),
                                ),
                            ),
                            ("preferred_read_replica", Int32),
                            ("records", CompactBytes),
                            ("tags", TaggedFields),
                        )
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class FetchRequest_v13(RequestStruct):  # noqa: N801 - named like aiokafka's
    """Offsets to read from, by topic id and partition."""

    FLEXIBLE_VERSION = True
    API_KEY = 1
    API_VERSION = 13
    RESPONSE_TYPE = FetchResponse_v13
    SCHEMA = Schema(
        ("replica_id", Int32),
        ("max_wait_ms", Int32),
        ("min_bytes", Int32),
        ("max_bytes", Int32),
        ("isolation_level", Int8),
        ("session_id", Int32),
        ("session_epoch", Int32),
        (
            "topics",
            CompactArray(
                ("topic_id", Uuid),
                (
                    "partitions",
                    # partition, current leader epoch, offset, last fetched epoch, log start
                    # offset, max bytes, and no tagged fields
                    CompactArray(FixedHeadSchema(">iiqiqix")),
                ),
                ("tags", TaggedFields),
            ),
        ),
        (
            "forgotten",
            CompactArray(
                ("topic_id", Uuid), ("partitions", CompactArray(Int32)), ("tags", TaggedFields)
            ),
        ),
        ("rack_id", CompactString("utf-8")),
        ("tags", TaggedFields),
    )


class FetchOptions(NamedTuple):
    """Limits of a fetch, its session (KIP-227), and the reader's rack (KIP-392)."""

    max_wait_ms: int
    max_bytes: int
    partition_bytes: int
    session_id: int
    session_epoch: int
    rack: str = ""

    @property
    def head(self) -> tuple[int, ...]:
        """The fields before the topics, for a consumer that reads committed records."""
        limits = (self.max_wait_ms, 1, self.max_bytes)
        return (-1, *limits, 1, self.session_id, self.session_epoch)


class FetchById(Request[FetchRequest_v13]):
    """Requests committed records by topic id, from the next offset of each partition."""

    API_KEY = 1

    def __init__(
        self,
        offsets: Mapping[uuid.UUID, Mapping[int, int]],
        options: FetchOptions,
        forgotten: Mapping[uuid.UUID, Sequence[int]],
    ) -> None:
        self._offsets = offsets
        self._options = options
        self._forgotten = forgotten

    def build(self, request_struct_class: Any) -> Any:
        """Build the only version."""
        options = self._options
        topics: list[Any] = [
            (
                topic_id,
                [
                    (partition, -1, offset, -1, -1, options.partition_bytes)
                    for partition, offset in partition_offsets.items()
                ],
                {},
            )
            for topic_id, partition_offsets in self._offsets.items()
        ]
        forgotten: list[Any] = [
            (topic_id, numbers, {}) for topic_id, numbers in self._forgotten.items()
        ]
        return request_struct_class(*options.head, topics, forgotten, options.rack, {})


class FetchByName(Request[FetchRequest_v11]):
    """Requests the same by topic name, for brokers that do not know topic ids."""

    API_KEY = 1

    def __init__(
        self,
        offsets: Mapping[str, Mapping[int, int]],
        options: FetchOptions,
        forgotten: Mapping[str, Sequence[int]],
    ) -> None:
        self._offsets = offsets
        self._options = options
        self._forgotten = forgotten

    def build(self, request_struct_class: Any) -> Any:
        """Build the only version."""
        options = self._options
        topics = [
            (
                topic,
                [
                    (partition, -1, offset, -1, options.partition_bytes)
                    for partition, offset in partition_offsets.items()
                ],
            )
            for topic, partition_offsets in self._offsets.items()
        ]
        forgotten = list(self._forgotten.items())
        return request_struct_class(*options.head, topics, forgotten, options.rack)
