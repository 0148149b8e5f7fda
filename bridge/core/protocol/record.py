"""Records as Kafka's side delivers them, and what a decoder returns for a batch of them.

Rule: plain values; nothing is decoded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from bridge.core.protocol.event import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.protocol.event import Event


class Record(Protocol):
    """One Kafka record, without topic and partition, which its batch has."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102


class UndecodableRecord(NamedTuple):
    """A record whose bytes are no record. `raw` has them; `reason` says what is wrong.

    Reading its value raises, so every decoder sets it aside.
    """

    offset: int
    timestamp: int
    raw: bytes
    reason: str

    @property
    def key(self) -> None:
        """There is none."""
        return

    @property
    def value(self) -> bytes | None:
        """Raise InvalidRecord (`bad_record`)."""
        raise InvalidRecord("bad_record", f"a record that cannot be decoded: {self.reason}")

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """There are none."""
        return ()


class Batch(NamedTuple):
    """Consecutive records of one partition, and the offset that follows them.

    `next_offset` may be higher than the last record's offset plus one: control records, aborted
    transactions and compaction leave holes.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int


class UnusableRecord(NamedTuple):
    """A record that could not be decoded, with its place and the error."""

    topic: str
    partition: int
    record: Record
    error: InvalidRecord


class DecodedBatch(NamedTuple):
    """The result of decoding a batch.

    `unaddressed` counts the records without an audience, `filtered` those that a route's `when`
    excludes. `last_unaddressed` is one of the former.
    """

    topic: str
    partition: int
    events: list[Event]
    next_offset: int
    unaddressed: int
    unusable: list[UnusableRecord]
    filtered: int = 0
    last_unaddressed: Record | None = None
