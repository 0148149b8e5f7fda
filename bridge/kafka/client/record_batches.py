"""Bytes that a broker sent to the committed records in them.

Rules: what was aborted is passed over (KIP-98), holes in offsets are no losses, and bytes that
can not be read are told apart from records: `Corrupt`, with the offset behind them where their
header still says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.core.protocol.envelope import Record


class Corrupt(Exception):
    """Bytes that are no records. `next` is the offset that follows them, or None if unknown."""

    def __init__(self, sentence: str, next: int | None) -> None:
        super().__init__(sentence)
        self.next = next


#: Records handed on at a time: so long may one of them hold up everything else.
CHUNK_RECORDS = 500


class Chunk(NamedTuple):
    """Some consecutive records, and the offset that follows them.

    `first` is above the offset before them where there is a hole between two batches; `whole`
    says that no more of their batch follows.
    """

    records: list[Record]
    next: int
    first: int
    whole: bool


class Aborted:
    """Which producers' transactions are aborted at the place where a reader stands."""

    def __init__(self, transactions: Sequence[tuple[int, int]]) -> None:
        """`transactions` are (producer id, first offset)."""
        self._coming = sorted(transactions, key=lambda transaction: -transaction[1])
        self._open: set[int] = set()

    def covers(self, producer: int, last_offset: int) -> bool:
        """Whether a batch of `producer` that ends at `last_offset` belongs to one of them."""
        while self._coming and self._coming[-1][1] <= last_offset:
            self._open.add(self._coming.pop()[0])
        return producer in self._open

    def end(self, producer: int) -> None:
        """Say that the marker of `producer`'s aborted transaction was read."""
        self._open.discard(producer)


def unpack(
    data: bytes, offset: int, end: int, aborted: Aborted, *, between: bool = False
) -> Iterator[Chunk]:
    """Yield what `data` holds from `offset` on; `end` is the log's.

    `between` says that a batch ends before `offset`, so that none may reach over it.

    Raises:
        Corrupt: Where a batch can not be read; the chunks before it are good.
    """
    batches = MemoryRecords(data)
    if data and not batches.has_next():
        # Brokers send a first batch whole, however large (KIP-74), so this is no batch.
        raise Corrupt("the length of a batch is wrong", None)
    while batches.has_next():
        records, following, first, _ = _read(batches, offset, end, aborted, between=between)
        while len(records) > CHUNK_RECORDS:
            chunk, records = records[:CHUNK_RECORDS], records[CHUNK_RECORDS:]
            yield Chunk(chunk, chunk[-1].offset + 1, first, whole=False)
            first = chunk[-1].offset + 1
        yield Chunk(records, following, first, whole=True)
        offset, between = following, True


def _read(
    batches: MemoryRecords, offset: int, end: int, aborted: Aborted, *, between: bool
) -> Chunk:
    following: int | None = None
    try:
        batch = batches.next_batch()
        # The formats before version 2 do not say where a batch begins.
        first = getattr(batch, "base_offset", offset)
        # The checksum does not cover a batch's first offset.
        known = offset < batch.next_offset <= end
        following = batch.next_offset if known else None
        in_place = known and (first >= offset or not between)
        if in_place and batch.validate_crc():
            records = _committed(batch, offset, aborted)
            return Chunk(records, batch.next_offset, max(first, offset), whole=True)
    except Exception as error:
        # Decompression and record parsing raise whatever they like on bytes that are not theirs.
        raise Corrupt(f"a batch can not be read: {error!r}", following) from error
    raise Corrupt("a batch has a wrong checksum or is out of its place", following)


def _committed(batch: Any, offset: int, aborted: Aborted) -> list[Record]:
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            aborted.end(batch.producer_id)
        return []
    if batch.is_transactional and aborted.covers(batch.producer_id, batch.next_offset - 1):
        return []
    return [record for record in batch if record.offset >= offset]
