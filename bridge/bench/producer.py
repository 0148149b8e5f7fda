"""Writes a workload's records to Kafka at a steady rate, in its own thread.

Rule: an open loop. A record is created when it is due, even if the bridge is behind. The result
has the producer's own largest delay, because a late producer is the bottleneck.
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
    # No retries: a duplicate of the producer would count against the bridge. Idempotence would
    # prevent it too, but with it librdkafka 2.16 sometimes spun for seconds and sent nothing.
    "retries": 0,
    "linger.ms": 1,
    # Further records wait here and go out in fewer, larger requests. Without this bound some
    # thousand requests per second, of a few records each, queued in the broker for a second.
    "max.in.flight": 4,
    "queue.buffering.max.messages": 1_000_000,
    "delivery.report.only.error": True,
    "log_level": 0,
}


class LoadProducer:
    """A librdkafka producer for one topic; one workload at a time."""

    def __init__(self, settings: Mapping[str, Any], topic: str) -> None:
        try:
            self._librdkafka = Librdkafka({**_LIBRDKAFKA_DEFAULTS, **settings})
        except KafkaException as error:
            raise BenchError(f"librdkafka rejects these settings: {error}", exit_code=2) from None
        self._bootstrap_servers = settings["bootstrap.servers"]
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._stop_event = threading.Event()
        self._error: str | None = None
        self.sent_records = 0
        self.max_lateness_seconds = 0.0  #: the largest delay of a record

    def prepare_partitions(self) -> int:
        """Write one record to each partition; return the number of partitions.

        Raises:
            BenchError: If Kafka does not answer, or the topic does not exist.
        """
        try:
            topics = self._librdkafka.list_topics(timeout=_METADATA_TIMEOUT_SECONDS).topics
        except KafkaException as error:
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} cannot be used (--kafka,"
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
        """Start to write `record_count` records, `rate` a second."""
        self._stop_event.clear()
        self._thread = threading.Thread(
            target=self._run, args=(workload, rate, record_count), name="producer", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """True until the last record was produced or the workload was stopped."""
        return self._thread is not None and self._thread.is_alive()

    def wait_finished(self) -> None:
        """Wait until Kafka has acknowledged every record.

        Raises:
            BenchError: If Kafka did not accept every record.
        """
        if self._thread is not None:
            self._thread.join()
        unsent = self._librdkafka.flush(_FLUSH_TIMEOUT_SECONDS)
        if unsent or self._error:
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} did not accept every record:"
                f" {self._error or f'{unsent} without acknowledgement'}"
            )

    def stop(self) -> None:
        """Stop the thread; records already produced are still sent."""
        self._stop_event.set()
        if self._thread is not None:
            self._thread.join()

    def _warm_up(self, partition_count: int) -> None:
        """Write a record without an audience to each partition: the first write to one is slow."""
        for partition in range(partition_count):
            self._librdkafka.produce(self._topic, _RECORD_FOR_NOBODY, None, partition)
        if self._librdkafka.flush(_FLUSH_TIMEOUT_SECONDS):
            raise BenchError(
                f"Kafka at {self._bootstrap_servers} accepted no record"
                f" in {_FLUSH_TIMEOUT_SECONDS:.0f} s (--kafka)"
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

    def _on_delivery(self, error: Any, _: object) -> None:  # noqa: ANN401 - has no type
        if error is not None:
            self._error = error.str()
