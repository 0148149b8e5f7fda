"""Which records are written, one after another.

Rule: a source numbers each lane from 0 and knows at the end how many each has had. A lane is
what is promised to be in order: a partition, or what is for one account.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol
from zlib import crc32

from bridge.bench.load.payload import RecordTemplate

_STRIDE = 7_919  # a prime, so that neighbours are not served one after another
_UNCONNECTED_ACCOUNTS = 1_000


class ProducerRecord(NamedTuple):
    """What is written, and where."""

    value: bytes
    key: bytes | None
    partition: int


class Workload(Protocol):
    """Makes the records of a scenario."""

    sent_by_sequence: Counter[int]  #: by lane

    def record(self, index: int, created_ns: int) -> ProducerRecord:
        """Return the record at this place, made at this moment (ns)."""

    def expected_deliveries(self) -> int:
        """Return how many deliveries what was made so far should come to."""


class RoomWorkload:
    """Everything is for one room; a lane is a partition."""

    def __init__(
        self, run_id: str, room: str, partition_count: int, record_bytes: int, member_count: int
    ) -> None:
        self.sent_by_sequence: Counter[int] = Counter()
        self._template = RecordTemplate(run_id, {"rooms": [room]}, record_bytes)
        self._partition_count = partition_count
        self._member_count = member_count

    def record(self, index: int, created_ns: int) -> ProducerRecord:
        """Return the record at this place."""
        sequence_id = index % self._partition_count
        number = self.sent_by_sequence[sequence_id]
        self.sent_by_sequence[sequence_id] = number + 1
        return ProducerRecord(
            self._template.render(sequence_id, number, created_ns), None, sequence_id
        )

    def expected_deliveries(self) -> int:
        """Return how many deliveries there should be."""
        return self.sent_by_sequence.total() * self._member_count


class AccountsWorkload:
    """Each is for one of many accounts, whose lane it is; all but each `among`-th for nobody."""

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
        """Return the record at this place."""
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
        """Return how many deliveries there should be."""
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
