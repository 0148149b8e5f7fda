"""Workloads: the records of a scenario, one after another.

Rule: a workload numbers each sequence from 0 and counts its records, so that clients can check
them. A sequence is what the bridge keeps in order: a partition, or the events of one account.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol
from zlib import crc32

from bridge.bench.load.payload import RecordTemplate

_STRIDE = 7_919  # a prime: consecutive records go to accounts far apart
_UNCONNECTED_ACCOUNTS = 1_000


class ProducerRecord(NamedTuple):
    """One record and its partition."""

    value: bytes
    key: bytes | None
    partition: int


class Workload(Protocol):
    """What the producer writes."""

    sent_by_sequence: Counter[int]  #: number of records, by sequence

    def record(self, index: int, created_ns: int) -> ProducerRecord:
        """Return the record with this index, created at this time (ns)."""

    def expected_deliveries(self) -> int:
        """Return the number of deliveries that the records so far must cause."""


class RoomWorkload:
    """Every event is for one room; a sequence is a partition."""

    def __init__(
        self, run_id: str, room: str, partition_count: int, record_bytes: int, member_count: int
    ) -> None:
        self.sent_by_sequence: Counter[int] = Counter()
        self._template = RecordTemplate(run_id, {"rooms": [room]}, record_bytes)
        self._partition_count = partition_count
        self._member_count = member_count

    def record(self, index: int, created_ns: int) -> ProducerRecord:
        """Return the record with this index."""
        sequence_id = index % self._partition_count
        number = self.sent_by_sequence[sequence_id]
        self.sent_by_sequence[sequence_id] = number + 1
        return ProducerRecord(
            self._template.render(sequence_id, number, created_ns), None, sequence_id
        )

    def expected_deliveries(self) -> int:
        """Return the number of deliveries that the records so far must cause."""
        return self.sent_by_sequence.total() * self._member_count


class AccountsWorkload:
    """Each event is for one account, and a sequence is an account.

    Of `one_in` records one is for a connected account; the others are for accounts without clients.
    """

    def __init__(
        self,
        run_id: str,
        account_prefix: str,
        account_count: int,
        partition_count: int,
        record_bytes: int,
        *,
        one_in: int = 1,
    ) -> None:
        self._partition_count = partition_count
        self.sent_by_sequence: Counter[int] = Counter()
        self._run_id, self._account_prefix, self._account_count = (
            run_id,
            account_prefix,
            account_count,
        )
        self._record_bytes, self._one_in = record_bytes, one_in
        self._stride = _STRIDE if account_count % _STRIDE else 1
        self._templates: dict[str, tuple[RecordTemplate, bytes, int]] = {}

    def record(self, index: int, created_ns: int) -> ProducerRecord:
        """Return the record with this index."""
        if index % self._one_in:
            account = f"{self._account_prefix}nobody-{index % _UNCONNECTED_ACCOUNTS}"
            return self._record_for(account, 0, 0, created_ns)
        sequence_id = index // self._one_in * self._stride % self._account_count
        number = self.sent_by_sequence[sequence_id]
        self.sent_by_sequence[sequence_id] = number + 1
        return self._record_for(
            f"{self._account_prefix}{sequence_id}", sequence_id, number, created_ns
        )

    def expected_deliveries(self) -> int:
        """Return the number of deliveries that the records so far must cause."""
        return self.sent_by_sequence.total()

    def _record_for(
        self, account: str, sequence_id: int, number: int, created_ns: int
    ) -> ProducerRecord:
        cached = self._templates.get(account)
        if cached is None:
            key = account.encode()
            template = RecordTemplate(self._run_id, {"accounts": [account]}, self._record_bytes)
            cached = self._templates[account] = (template, key, crc32(key) % self._partition_count)
        template, key, partition = cached
        return ProducerRecord(template.render(sequence_id, number, created_ns), key, partition)
