"""A client without a socket: what would be written to it is put into a list."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import parse_position
from tests.harness.frame_schemas import read_frame
from tests.kafka.held_replays import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.sessions.session import Session
    from tests.kafka.headless_instance import HeadlessInstance

LIVE_MARK = b'"op":"live"'


class ResumingClient:
    """One client's connection: every frame that it was sent. While it is held, it reads nothing."""

    kind = "resuming"
    last_seen = 0.0

    def __init__(self, instance: HeadlessInstance, session: Session) -> None:
        self.instance = instance
        self.session = session
        self.is_held = False
        self.is_live = False
        self._frame_texts: list[bytes] = []
        self._frames: list[dict[str, Any]] = []
        self._changed = asyncio.Event()

    def flush(self) -> None:
        """Read what is queued: the bank calls this."""
        if not self.is_held and self.session.outbox.pending_bytes:
            texts = self.session.outbox.pop(2**40).splitlines()
            self.is_live |= any(LIVE_MARK in text for text in texts)
            self._frame_texts += texts
            self._changed.set()

    def resume_reading(self) -> None:
        self.is_held = False
        self.flush()

    def frames(self) -> list[dict[str, Any]]:
        self._frames += map(read_frame, self._frame_texts[len(self._frames) :])
        return self._frames

    def frames_of(self, op: str) -> list[dict[str, Any]]:
        return [frame for frame in self.frames() if frame["op"] == op]

    def offsets(self) -> dict[int, list[int]]:
        """The offsets that came, by partition, whatever the topic."""
        found: dict[int, list[int]] = defaultdict(list)
        for frame in self.frames_of("event"):
            position = parse_position(frame["at"])
            found[position.partition].append(position.offset)
        return dict(found)

    def gaps(self) -> list[tuple[str, str]]:
        return [(frame["topic"], frame["reason"]) for frame in self.frames_of("gap")]

    def ops(self) -> list[str]:
        """What kinds of frames came, each run of them once."""
        return [op for op, _ in itertools.groupby(frame["op"] for frame in self.frames())]

    def cursor(self) -> str:
        """What this client would come back with: the newest cursor, and the positions since."""
        cursor, positions = "", dict[str, str]()
        for frame in self.frames():
            if frame.get("cursor"):
                cursor, positions = frame["cursor"], {}
            elif frame["op"] == "event":
                positions[frame["at"].rpartition(":")[0]] = frame["at"]
        return ",".join([cursor, *positions.values()])

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition` of what came; fail where it does not come."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; it came: {self._frame_texts[-5:]}") from None

    async def wait_live(self) -> dict[str, Any]:
        """Wait until the replay is over; return the frame that says so."""
        await self.wait_until(lambda: self.is_live)
        return next(read_frame(text) for text in reversed(self._frame_texts) if LIVE_MARK in text)

    async def wait_closed(self) -> int:
        """Wait until the bridge hangs up; return the code."""
        await self.wait_until(lambda: self.frames_of("closing"))
        code: int = self.frames_of("closing")[0]["code"]
        return code

    def disconnect(self) -> None:
        """Be gone, without a word."""
        self.instance.hub.detach(self.session)
