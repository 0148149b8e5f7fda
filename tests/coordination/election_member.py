"""A member of the election, on its own event loop that a test can pause and resume."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

from bridge.coordination.leader import LeaderElection
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aiokafka import TopicPartition

    from bridge.coordination.topics import BridgeTopics


class ConcurrencyCounter:
    """Counts the tasks that run at the same time."""

    def __init__(self) -> None:
        self.max_running = 0
        self._running = 0
        self._lock = threading.Lock()

    def add(self, change: int) -> None:
        with self._lock:
            self._running += change
            self.max_running = max(self.max_running, self._running)


class RecordingTask:
    """A task that runs until cancelled, after it failed `failures` times."""

    def __init__(self, failures: int = 0, counter: ConcurrencyCounter | None = None) -> None:
        self.start_count = self.end_count = 0
        self._failures = failures
        self._counter = counter or ConcurrencyCounter()

    @property
    def is_running(self) -> bool:
        return self.start_count > self.end_count

    async def run(self) -> None:
        self.start_count += 1
        self._counter.add(1)
        try:
            if self.start_count <= self._failures:
                raise RuntimeError("as the test wants it")
            await asyncio.Event().wait()
        finally:
            self.end_count += 1
            self._counter.add(-1)


class CountingElection(LeaderElection):
    """Counts the assignments of partitions."""

    assignment_count = 0

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await super().on_partitions_assigned(assigned)
        self.assignment_count += 1


class ElectionMember:
    """The election of one instance, in its own thread."""

    def __init__(self, bootstrap: str, topics: BridgeTopics, counter: ConcurrencyCounter) -> None:
        self.task = RecordingTask(counter=counter)
        self.election: CountingElection | None = None
        self._bootstrap, self._topics = bootstrap, topics
        self._may_run = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread.start()

    @property
    def has_joined(self) -> bool:
        return self.election is not None and self.election.assignment_count > 0

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.election = CountingElection(plaintext_access(self._bootstrap), self._topics, self.task)
        self._task = asyncio.create_task(self.election.run())
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def pause(self) -> None:
        """Block its event loop, as SIGSTOP does."""
        assert self._loop is not None
        self._may_run.clear()
        self._loop.call_soon_threadsafe(self._may_run.wait)

    def resume(self) -> None:
        self._may_run.set()

    def stop(self) -> None:
        """Cancel it, as an instance does on stop. Returns at once."""
        self.resume()
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def join(self) -> None:
        self._thread.join(60)


@contextlib.contextmanager
def running_members(
    bootstrap: str, topics: BridgeTopics, count: int, counter: ConcurrencyCounter | None = None
) -> Iterator[list[ElectionMember]]:
    """Start members; stop and join all at the end."""
    counter = counter or ConcurrencyCounter()
    started = [ElectionMember(bootstrap, topics, counter) for _ in range(count)]
    try:
        yield started
    finally:
        for each in started:
            each.stop()
        for each in started:
            each.join()
