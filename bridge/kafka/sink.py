"""What a feed hands everything to: the one seam between the bank that reads and the span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bridge.core.protocol.router import Batch


class Sink(Protocol):
    """Topics are the public ones."""

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Reading starts at `offsets`; or these partitions were added, or it is another topic."""

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """What is below `offsets` can not be read; `reason` is a gap's."""

    def sleep(self, topic: str, identity: bytes) -> None:
        """This topic, read on demand, is not read now, and is of this identity."""

    def deliver(self, batches: Sequence[Batch]) -> Awaitable[None]:
        """Records, in order per partition. The feed waits for it: that is its back-pressure."""
