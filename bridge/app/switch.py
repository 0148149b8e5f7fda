"""Where the feed's way parts: the bridge's own topics go to the office, all others to the span.

Rule: what is read goes one of the two ways, and whatever either has queued is written afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.app.pipeline import Span
    from bridge.coordination.commands import Office
    from bridge.core.protocol.router import Batch


class Switch:
    """Takes what the feed reads."""

    #: Set once it exists, for it needs the feed, which needs this.
    office: Office

    def __init__(self, span: Span) -> None:
        self._span = span

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say where reading starts."""
        if topic in self.office.topics:
            self.office.begin(topic, identity)
        else:
            self._span.begin(topic, identity, offsets)

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Say what can not be read."""
        if topic in self.office.topics:
            self.office.skip(topic, reason)
        else:
            self._span.skip(topic, reason, offsets)

    def sleep(self, topic: str, identity: bytes) -> None:
        """Say that a topic is not read until somebody follows it again."""
        self._span.sleep(topic, identity)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Hand on what was read."""
        own = self.office.topics
        for batch in batches:
            if batch.topic in own:
                self.office.take(batch)
        await self._span.deliver([batch for batch in batches if batch.topic not in own])
