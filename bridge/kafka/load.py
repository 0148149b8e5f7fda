"""Batches on their way to the sink, in loads of about as many records as it takes at a time.

Rule: what is in a load is handed on before anything is waited for, so it can not be outlived by
what becomes of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.client.record_batches import CHUNK_RECORDS

if TYPE_CHECKING:
    from bridge.core.protocol.router import Batch
    from bridge.kafka.sink import Sink


class Load:
    """What was read and is handed on together."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._batches: list[Batch] = []
        self._records = 0
        self.taken = 0  #: records, from the start on

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        self._batches.append(batch)
        self._records += len(batch.records)
        self.taken += len(batch.records)

    @property
    def full(self) -> bool:
        """Whether it should be handed on before more is added."""
        return self._records >= CHUNK_RECORDS

    async def hand_on(self) -> None:
        """Hand on what there is; return when it was taken."""
        if self._batches:
            batches, self._batches, self._records = self._batches, [], 0
            await self._sink.deliver(batches)
