"""One member of the group of duties, on a loop of its own that a test can stop and let go on."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from bridge.coordination.leader import Duties
from tests.kafka.tape import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiokafka import TopicPartition

    from bridge.coordination.topics import Own


class Shift:
    """Counts who works at a time."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def count(self, change: int) -> None:
        with self._lock:
            self._now += change
            self.most = max(self.most, self._now)


class Worker:
    """A work that goes on until it is cancelled; `fails` is how often it fails first."""

    def __init__(self, fails: int = 0, shift: Shift | None = None) -> None:
        self.begun = self.ended = 0
        self._fails = fails
        self._shift = shift or Shift()

    @property
    def working(self) -> bool:
        return self.begun > self.ended

    async def run(self) -> None:
        self.begun += 1
        self._shift.count(1)
        try:
            if self.begun <= self._fails:
                raise RuntimeError("as the test wants it")
            await asyncio.Event().wait()
        finally:
            self.ended += 1
            self._shift.count(-1)


class Joining(Duties):
    """One that tells how often Kafka has dealt out the group's partitions to it."""

    deals = 0

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await super().on_partitions_assigned(assigned)
        self.deals += 1


class Member:
    """An instance, as far as it takes part; what it does, it does in a thread of its own."""

    def __init__(self, bootstrap: str, own: Own, shift: Shift) -> None:
        self.worker = Worker(shift=shift)
        self.duties: Joining | None = None
        self._bootstrap, self._own = bootstrap, own
        self._going = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread.start()

    @property
    def joined(self) -> bool:
        return self.duties is not None and self.duties.deals > 0

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.duties = Joining(plain(self._bootstrap), self._own, self.worker)
        self._task = asyncio.create_task(self.duties.run())
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def pause(self) -> None:
        """Let it do nothing at all, as SIGSTOP does."""
        assert self._loop is not None
        self._going.clear()
        self._loop.call_soon_threadsafe(self._going.wait)

    def resume(self) -> None:
        self._going.set()

    def stop(self) -> None:
        """End it, as an instance ends; returns at once."""
        self.resume()
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def join(self) -> None:
        self._thread.join(60)


@contextlib.contextmanager
def members(
    bootstrap: str, own: Own, count: int, shift: Shift | None = None
) -> Iterator[list[Member]]:
    """So many members; at their end none is left."""
    shift = shift or Shift()
    made = [Member(bootstrap, own, shift) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.stop()
        for each in made:
            each.join()
