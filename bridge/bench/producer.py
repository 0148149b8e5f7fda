"""Writes a source's records into Kafka at a steady rate, in a thread of its own.

Rule: an open loop. A record is made when it is due, whatever the bridge is doing; how late the
producer itself ever was is told, because then it is the bottleneck.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaException
from confluent_kafka import Producer as Librdkafka

from bridge.bench.load.job import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.workloads import Source

_FOR_NOBODY: Final = b'{"data":null}'
_TO_ANSWER: Final = 5.0
_TO_TAKE_ALL: Final = 15.0
_BURST: Final = 200
_NAP: Final = 0.0005
_OURS: Final = {
    "client.id": "push-bridge-bench",
    # No second try, which the bridge could be blamed for. Idempotence would do it too, but with it
    # librdkafka 2.16 was seen to spin for seconds, and to send nothing meanwhile.
    "retries": 0,
    "linger.ms": 1,
    # What does not fit waits here, and goes in fewer and larger requests: without a bound, some
    # thousand requests per second of a few records each were queued in the broker, for a second.
    "max.in.flight": 4,
    "queue.buffering.max.messages": 1_000_000,
    "delivery.report.only.error": True,
    "log_level": 0,
}


class Producer:
    """One connection to Kafka, for one topic."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        try:
            self._kafka = Librdkafka({**_OURS, **settings})
        except KafkaException as problem:
            raise Trouble(f"librdkafka does not take these settings: {problem}", code=2) from None
        self._where = settings["bootstrap.servers"]
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._failed: str | None = None
        self.sent = 0
        self.latest = 0.0  #: the most seconds that a record was late

    def partitions(self) -> int:
        """Return how many the topic has.

        Raises:
            Trouble: If Kafka does not answer, or has no such topic.
        """
        try:
            known = self._kafka.list_topics(timeout=_TO_ANSWER).topics
        except KafkaException as problem:
            raise Trouble(
                f"Kafka at {self._where} can not be used (--kafka,"
                f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {problem.args[0].str()}"
            ) from None
        if self._topic not in known or not known[self._topic].partitions:
            raise Trouble(f"there is no topic {self._topic!r} at {self._where} (--topic)")
        count = len(known[self._topic].partitions)
        self._warm_up(count)
        return count

    def start(self, source: Source, rate: float, total: int) -> None:
        """Begin to write `total` records."""
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._run, args=(source, rate, total), name="producer", daemon=True
        )
        self._thread.start()

    @property
    def runs(self) -> bool:
        """Whether there is more to write."""
        return self._thread is not None and self._thread.is_alive()

    def finish(self) -> None:
        """Wait until everything is written and Kafka has it.

        Raises:
            Trouble: If Kafka did not take all of it.
        """
        if self._thread is not None:
            self._thread.join()
        left = self._kafka.flush(_TO_TAKE_ALL)
        if left or self._failed:
            raise Trouble(
                f"Kafka at {self._where} did not take every record: {self._failed or left}"
            )

    def stop(self) -> None:
        """Write no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _warm_up(self, partitions: int) -> None:
        """Write a record for nobody to each partition: what takes long the first time is done."""
        for partition in range(partitions):
            self._kafka.produce(self._topic, _FOR_NOBODY, None, partition)
        if self._kafka.flush(_TO_TAKE_ALL):
            raise Trouble(
                f"Kafka at {self._where} took no record in {_TO_TAKE_ALL:.0f} s (--kafka)"
            )

    def _run(self, source: Source, rate: float, total: int) -> None:
        begun = time.monotonic_ns()
        apart = 1e9 / rate
        place = 0
        while place < total and not self._stopped.is_set():
            now = time.monotonic_ns()
            due = min(total, place + _BURST, int((now - begun) / apart) + 1)
            if place < due:
                self.latest = max(self.latest, (now - begun - place * apart) / 1e9)
            for each in range(place, due):
                self._write(source, each)
            place = max(place, due)
            self._kafka.poll(0)
            wait = (begun + place * apart - time.monotonic_ns()) / 1e9
            if wait > 0:
                time.sleep(max(_NAP, wait))

    def _write(self, source: Source, place: int) -> None:
        value, key, partition = source.record(place, time.monotonic_ns())
        while True:
            try:
                self._kafka.produce(self._topic, value, key, partition, on_delivery=self._refused)
            except BufferError:
                self._kafka.poll(0.01)
            except KafkaException as problem:
                self._failed = str(problem)
                self._stopped.set()
                return
            else:
                self.sent += 1
                return

    def _refused(self, error: Any, _: object) -> None:  # noqa: ANN401 - confluent-kafka's own
        if error is not None:
            self._failed = error.str()
