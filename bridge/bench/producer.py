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

from bridge.bench.load.job import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.workloads import Workload

_RECORD_FOR_NOBODY: Final = b'{"data":null}'
_METADATA_TIMEOUT_SECONDS: Final = 5.0
_FLUSH_TIMEOUT_SECONDS: Final = 15.0
_MAX_BURST_RECORDS: Final = 200
_MIN_SLEEP_SECONDS: Final = 0.0005
_LIBRDKAFKA_DEFAULTS: Final = {
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


class LoadProducer:
    """One connection to Kafka, for one topic."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        try:
            self._librdkafka = Librdkafka({**_LIBRDKAFKA_DEFAULTS, **settings})
        except KafkaException as error:
            raise BenchError(
                f"librdkafka does not take these settings: {error}", exit_code=2
            ) from None
        self._bootstrap_servers = settings["bootstrap.servers"]
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._stop_event = threading.Event()
        self._error: str | None = None
        self.sent_records = 0
        self.max_lateness_seconds = 0.0  #: the most seconds that a record was late

    def prepare_partitions(self) -> int:
        """Return how many the topic has.

        Raises:
            Trouble: If Kafka does not answer, or has no such topic.
        """
        try:
            topics = self._librdkafka.list_topics(timeout=_METADATA_TIMEOUT_SECONDS).topics
        except KafkaException as error:
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} can not be used (--kafka,"
                f" BRIDGE_KAFKA__BOOTSTRAP_SERVERS): {error.args[0].str()}"
            ) from None
        if self._topic not in topics or not topics[self._topic].partitions:
            raise BenchError(
                f"there is no topic {self._topic!r} at {self._bootstrap_servers} (--topic)"
            )
        count = len(topics[self._topic].partitions)
        self._warm_up(count)
        return count

    def start(self, workload: Workload, rate: float, record_count: int) -> None:
        """Begin to write `record_count` records."""
        self._stop_event.clear()
        self._thread = threading.Thread(
            target=self._run, args=(workload, rate, record_count), name="producer", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether there is more to write."""
        return self._thread is not None and self._thread.is_alive()

    def wait_finished(self) -> None:
        """Wait until everything is written and Kafka has it.

        Raises:
            Trouble: If Kafka did not take all of it.
        """
        if self._thread is not None:
            self._thread.join()
        unsent = self._librdkafka.flush(_FLUSH_TIMEOUT_SECONDS)
        if unsent or self._error:
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} did not take every record: {self._error or unsent}"
            )

    def stop(self) -> None:
        """Write no more."""
        self._stop_event.set()
        if self._thread is not None:
            self._thread.join()

    def _warm_up(self, partition_count: int) -> None:
        """Write a record for nobody to each partition: what takes long the first time is done."""
        for partition in range(partition_count):
            self._librdkafka.produce(self._topic, _RECORD_FOR_NOBODY, None, partition)
        if self._librdkafka.flush(_FLUSH_TIMEOUT_SECONDS):
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} took no record in {_FLUSH_TIMEOUT_SECONDS:.0f} s (--kafka)"
            )

    def _run(self, workload: Workload, rate: float, record_count: int) -> None:
        started_ns = time.monotonic_ns()
        interval_ns = 1e9 / rate
        index = 0
        while index < record_count and not self._stop_event.is_set():
            now_ns = time.monotonic_ns()
            due = min(
                record_count,
                index + _MAX_BURST_RECORDS,
                int((now_ns - started_ns) / interval_ns) + 1,
            )
            if index < due:
                self.max_lateness_seconds = max(
                    self.max_lateness_seconds, (now_ns - started_ns - index * interval_ns) / 1e9
                )
            for each in range(index, due):
                self._produce(workload, each)
            index = max(index, due)
            self._librdkafka.poll(0)
            wait_seconds = (started_ns + index * interval_ns - time.monotonic_ns()) / 1e9
            if wait_seconds > 0:
                time.sleep(max(_MIN_SLEEP_SECONDS, wait_seconds))

    def _produce(self, workload: Workload, index: int) -> None:
        value, key, partition = workload.record(index, time.monotonic_ns())
        while True:
            try:
                self._librdkafka.produce(
                    self._topic, value, key, partition, on_delivery=self._on_delivery
                )
            except BufferError:
                self._librdkafka.poll(0.01)
            except KafkaException as error:
                self._error = str(error)
                self._stop_event.set()
                return
            else:
                self.sent_records += 1
                return

    def _on_delivery(self, error: Any, _: object) -> None:  # noqa: ANN401 - confluent-kafka's own
        if error is not None:
            self._error = error.str()
