"""aiokafka's private parts that the bridge reads, sets, calls or subclasses.

Rule: nothing else in the bridge imports them or touches an attribute with an underscore.
`check_aiokafka` compares what it finds with what the bridge needs, and raises one sentence about
the first difference.
"""

from __future__ import annotations

import dis
import inspect
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import aiokafka
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.conn import AIOKafkaConnection
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from aiokafka.protocol.admin import DeleteGroupsRequest, DescribeConfigsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest_v11
from aiokafka.protocol.metadata import MetadataRequest_v5
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import decode_varint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping

__all__ = [
    "ABORT_MARKER",
    "AIOKafkaClient",
    "AbstractType",
    "Boolean",
    "CompactArray",
    "CompactBytes",
    "CompactString",
    "ControlRecord",
    "CoordinationType",
    "DefaultRecordBatch",
    "DeleteGroupsRequest",
    "DescribeConfigsRequest",
    "FetchRequest_v11",
    "Int8",
    "Int16",
    "Int32",
    "Int64",
    "MetadataRequest_v5",
    "OffsetCommitRequest",
    "OffsetFetchRequest",
    "OffsetRequest",
    "Request",
    "RequestStruct",
    "Response",
    "Schema",
    "TaggedFields",
    "UnsupportedAiokafka",
    "check_aiokafka",
    "close_connections",
    "decode_varint",
    "disable_topic_refresh",
    "mark_closed",
    "pending_futures",
    "sender_task",
]

#: The versions that the bridge works with, as in pyproject.toml.
SUPPORTED_VERSION: Final = "0.14.*"

#: Parameters of the methods that the bridge overrides or calls, without `self`.
METHODS: Final[Mapping[type, Mapping[str, tuple[str, ...]]]] = {
    AIOKafkaClient: {
        "bootstrap": (),
        "close": (),
        "coordinator_lookup": ("coordinator_type", "coordinator_key"),
        "get_random_node": (),
        "send": ("node_id", "request", "group"),
    },
    AIOKafkaConnection: {"close": ("reason", "exc")},
    ControlRecord: {"parse": ("data",)},
    DeleteGroupsRequest: {"__init__": ("group_names",)},
    DescribeConfigsRequest: {"__init__": ("resources", "include_synonyms")},
    OffsetCommitRequest: {
        "__init__": (
            *("consumer_group", "consumer_group_generation_id", "consumer_id"),
            *("retention_time", "topics"),
        )
    },
    OffsetFetchRequest: {"__init__": ("consumer_group", "partitions")},
    OffsetRequest: {"__init__": ("replica_id", "isolation_level", "topics")},
    Request: {"build": ("request_struct_class",), "prepare": ("versions",)},
    AbstractType: {"decode": ("data",), "encode": ("value",)},
    Schema: {"__init__": ("fields",), "decode": ("data",), "encode": ("item",)},
}
#: Attributes that the bridge reads or sets: of the class, or set by its own methods.
ATTRIBUTES: Final[Mapping[type, tuple[str, ...]]] = {
    AIOKafkaClient: ("_conns", "_topics", "cluster"),
    AIOKafkaProducer: ("_closed", "_message_accumulator", "_sender", "_txn_manager", "client"),
    MessageAccumulator: ("_batches", "_pending_batches"),
    MessageBatch: ("_drain_waiter",),
    Sender: ("sender_task",),
    TransactionManager: ("_transaction_waiter",),
    RequestStruct: ("FLEXIBLE_VERSION",),
    DefaultRecordBatch: (
        *("base_offset", "is_control_batch", "is_transactional", "next_offset", "producer_id"),
        "validate_crc",
    ),
}
#: Fields of the requests that the bridge fills in by position.
FIELDS: Final[Mapping[type[RequestStruct], tuple[str, ...]]] = {
    FetchRequest_v11: (
        *("replica_id", "max_wait_time", "min_bytes", "max_bytes", "isolation_level"),
        *("session_id", "session_epoch", "topics", "forgotten_topics_data", "rack_id"),
    ),
    MetadataRequest_v5: ("topics", "allow_auto_topic_creation"),
}


class UnsupportedAiokafka(RuntimeError):
    """The installed aiokafka differs inside from the one that the bridge needs."""


def check_aiokafka() -> None:
    """Compare aiokafka's private parts with what the bridge needs.

    Raises:
        UnsupportedAiokafka: If a method, a parameter, an attribute or a field has changed.
    """
    for difference in _differences():
        raise UnsupportedAiokafka(
            f"aiokafka {aiokafka.__version__} does not fit the bridge: {difference}; install"
            f" aiokafka {SUPPORTED_VERSION}"
        )


def _differences() -> Iterable[str]:
    for owner, methods in METHODS.items():
        for name, needed in methods.items():
            method = getattr(owner, name, None)
            if method is None:
                yield f"{owner.__name__} has no method {name}"
            elif (found := _parameters(method)) != needed:
                yield f"{owner.__name__}.{name} takes {_names(found)}, not {_names(needed)}"
    for owner, attributes in ATTRIBUTES.items():
        for name in sorted(set(attributes) - _attributes(owner)):
            yield f"{owner.__name__} has no attribute {name}"
    for request, needed in FIELDS.items():
        if (found := tuple(request.SCHEMA.names)) != needed:
            yield f"{request.__name__} has the fields {_names(found)}, not {_names(needed)}"


def _names(parameters: tuple[str, ...]) -> str:
    return f"({', '.join(parameters)})"


def _parameters(method: Any) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(method).parameters if name != "self")


def _attributes(owner: type) -> set[str]:
    """Return the names of the class's attributes, and of those that its own methods set."""
    return set(dir(owner)) | {
        instruction.argval
        for method in vars(owner).values()
        if inspect.isfunction(method)
        for instruction in dis.get_instructions(method)
        if instruction.opname == "STORE_ATTR"
    }


class _NoRefreshedTopics(set[str]):
    """No topic. A plain empty set means every topic to aiokafka."""

    def __bool__(self) -> bool:
        return True


def disable_topic_refresh(client: AIOKafkaClient) -> None:
    """Let `client` refresh the metadata of no topic by itself.

    `KafkaClient` describes its topics, by id. It never creates one with a metadata request.
    """
    client._topics = _NoRefreshedTopics()  # noqa: SLF001


def mark_closed(producer: AIOKafkaProducer) -> None:
    """Make `producer` refuse records, without waiting for those that it holds."""
    producer._closed = True  # noqa: SLF001


def sender_task(producer: AIOKafkaProducer) -> asyncio.Task[Any] | None:
    """Return the task that sends the records of `producer`; None before its start."""
    task: asyncio.Task[Any] | None = producer._sender.sender_task  # noqa: SLF001
    return task


def close_connections(producer: AIOKafkaProducer) -> None:
    """Start to close all connections of `producer`."""
    for connection in [*producer.client._conns.values()]:  # noqa: SLF001
        connection.close()


def pending_futures(producer: AIOKafkaProducer) -> list[asyncio.Future[Any]]:
    """Return the futures of batches and of the transaction, which `producer` may never await."""
    accumulator, transactions = producer._message_accumulator, producer._txn_manager  # noqa: SLF001
    futures: list[asyncio.Future[Any]] = [
        batch._drain_waiter  # noqa: SLF001
        for batch in chain(*accumulator._batches.values(), accumulator._pending_batches)  # noqa: SLF001
    ]
    if transactions is not None and transactions._transaction_waiter is not None:  # noqa: SLF001
        futures.append(transactions._transaction_waiter)  # noqa: SLF001
    return futures
