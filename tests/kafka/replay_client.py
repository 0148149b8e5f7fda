"""A client without a socket: what would be written to it is put into a list."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import read_position
from tests.harness.frames import read_frame
from tests.kafka.pacing import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.sessions.session import Session
    from tests.kafka.returning import Instance

LIVE = b'"op":"live"'


class Client:
    """One client's connection: every frame that it was sent. While it is held, it reads nothing."""

    def __init__(self, instance: Instance, session: Session) -> None:
        self.instance = instance
        self.session = session
        self.held = False
        self.is_live = False
        self._texts: list[bytes] = []
        self._frames: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def flush(self) -> None:
        """Read what is queued: the bank calls this."""
        if not self.held and self.session.outbox.pending:
            texts = self.session.outbox.take(2**40).splitlines()
            self.is_live |= any(LIVE in text for text in texts)
            self._texts += texts
            self._changed.set()

    def read_on(self) -> None:
        self.held = False
        self.flush()

    def frames(self) -> list[dict[str, Any]]:
        self._frames += map(read_frame, self._texts[len(self._frames) :])
        return self._frames

    def said(self, op: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames() if frame["op"] == op]

    def offsets(self) -> dict[int, list[int]]:
        """The offsets that came, by partition, whatever the topic."""
        found: dict[int, list[int]] = defaultdict(list)
        for frame in self.said("event"):
            position = read_position(frame["at"])
            found[position.partition].append(position.offset)
        return dict(found)

    def gaps(self) -> list[tuple[str, str]]:
        return [(frame["topic"], frame["reason"]) for frame in self.said("gap")]

    def ops(self) -> list[str]:
        """What kinds of frames came, each run of them once."""
        return [op for op, _ in itertools.groupby(frame["op"] for frame in self.frames())]

    def cursor(self) -> str:
        """What this client would come back with: the newest cursor, and the positions since."""
        newest, since = "", dict[str, str]()
        for frame in self.frames():
            if frame.get("cursor"):
                newest, since = frame["cursor"], {}
            elif frame["op"] == "event":
                since[frame["at"].rpartition(":")[0]] = frame["at"]
        return ",".join([newest, *since.values()])

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition` of what came; fail where it does not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; it came: {self._texts[-5:]}") from None

    async def live(self) -> dict[str, Any]:
        """Wait until the replay is over; return the frame that says so."""
        await self.until(lambda: self.is_live)
        return next(read_frame(text) for text in reversed(self._texts) if LIVE in text)

    async def closed(self) -> int:
        """Wait until the bridge hangs up; return the code."""
        await self.until(lambda: self.said("closing"))
        code: int = self.said("closing")[0]["code"]
        return code

    def vanish(self) -> None:
        """Be gone, without a word."""
        self.instance.hub.detach(self.session)
