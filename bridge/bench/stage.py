"""What every scenario uses: worker processes, a producer, and the bridge's metrics.

Rule: rates and CPU are measured after the warm-up, while the producer writes. Deliveries are
checked over all events, after the last one has arrived.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from bridge.bench.load.job import BenchError
from bridge.bench.load.payload import new_run_id
from bridge.bench.load.worker_pool import WorkerPool
from bridge.bench.producer import LoadProducer
from bridge.bench.report import (
    CPU_SECONDS_METRIC,
    bridge_version,
    raise_open_file_limit,
    scrape_metrics,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.bench.load.job import LoadJob
    from bridge.bench.load.worker_pool import PoolStatus
    from bridge.bench.plan import Plan
    from bridge.bench.workloads import Workload

_POLL_SECONDS: Final = 0.05
_PROGRESS_SECONDS: Final = 1.0
# Without progress for so long, the wait ends.
_DELIVERY_STALL_SECONDS: Final = 5.0
_CONNECT_STALL_SECONDS: Final = 30.0


class Measurement:
    """One measurement; leaving the `with` stops its processes and its producer."""

    worker_pool: WorkerPool
    producer: LoadProducer

    def __init__(self, plan: Plan, on_progress: Callable[[str], None]) -> None:
        self.plan = plan
        self.run_id = new_run_id()
        self.room = f"bench:{self.run_id}"
        self.on_progress = on_progress
        self._exit_stack = ExitStack()
        self.partition_count = 0
        self.bridge_version = "unknown"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit_stack.close()

    def set_up(self, job: LoadJob, *, needs_producer: bool = True) -> dict[str, float]:
        """Check that the bridges and Kafka answer, and start the worker processes.

        Returns the bridges' metrics before any client connects.
        """
        plan = self.plan
        raise_open_file_limit(-(-plan.connections // plan.processes))
        before = self.scrape()
        self.bridge_version = bridge_version(before)
        if needs_producer:
            self.producer = LoadProducer(plan.kafka_settings, plan.kafka_topic)
            self._exit_stack.callback(self.producer.stop)
            self.partition_count = self.producer.prepare_partitions()
        self.worker_pool = self._exit_stack.enter_context(WorkerPool(job, plan.processes))
        return before

    def scrape(self) -> dict[str, float]:
        """Return the metrics of all bridges, added."""
        return scrape_metrics(self.plan.metrics_urls)

    def connect_clients(self) -> dict[str, Any]:
        """Connect all clients, and wait until each has received `welcome`."""
        before = self.scrape()
        seconds = self.run_until_all("connect", lambda status: status.open, "connected")
        cpu_seconds = self.scrape()[CPU_SECONDS_METRIC] - before[CPU_SECONDS_METRIC]
        pool_status = self.worker_pool.run_command("status")
        return {
            "open_seconds": round(seconds, 3),
            "accepts_per_second": round(self.plan.connections / seconds, 1),
            "accepts_per_cpu_second": ratio(self.plan.connections, cpu_seconds),
            "told_to_come_later": pool_status.counters["retries"],
        }

    def run_until_all(
        self,
        command: str,
        count_reached: Callable[[PoolStatus], int],
        state_name: str,
        **arguments: Any,  # noqa: ANN401 - JSON
    ) -> float:
        """Run a worker command; return the seconds until `count_reached` is all clients.

        Raises:
            BenchError: If the count does not rise for 30 s.
        """
        client_count = self.plan.connections
        started = last_progress = last_report = time.monotonic()
        pool_status = self.worker_pool.run_command(command, **arguments)
        best = -1
        while (count := count_reached(pool_status)) < client_count:
            now = time.monotonic()
            if count > best:
                best, last_progress = count, now
            if now - last_progress > _CONNECT_STALL_SECONDS:
                raise BenchError(
                    f"{count} of {client_count} clients are {state_name}, and no more for"
                    f" {_CONNECT_STALL_SECONDS:.0f} s; {pool_status.counters['retries']} attempts"
                    " were rejected as overloaded (BRIDGE_LIMITS__CONNECTIONS,"
                    " BRIDGE_LIMITS__HANDSHAKES_PER_SECOND)"
                )
            if now - last_report >= _PROGRESS_SECONDS:
                last_report = now
                self.on_progress(f"{now - started:5.0f} s  {count:,} {state_name}")
            time.sleep(_POLL_SECONDS)
            pool_status = self.worker_pool.run_command("status")
        seconds = time.monotonic() - started
        self.on_progress(f"{seconds:7.1f} s  all {client_count:,} {state_name}")
        return seconds

    def write_records(self, workload: Workload, rate: float, count: int) -> None:
        """Write `count` records, and wait until Kafka has acknowledged them."""
        self.producer.start(workload, rate, count)
        self.producer.wait_finished()

    def run_workload(
        self,
        workload: Workload,
        on_sample: Callable[[float, Mapping[str, float]], None] | None = None,
    ) -> dict[str, Any]:
        """Write at the plan's rate, then wait for the deliveries; return the figures.

        `on_sample` receives the seconds since the warm-up and the metrics, once a second.
        """
        plan, producer = self.plan, self.producer
        producer.start(
            workload, plan.rate, max(1, int(plan.rate * (plan.warmup_seconds + plan.seconds)))
        )
        time.sleep(plan.warmup_seconds)
        metrics_before, status_before, sent_before = (
            self.scrape(),
            self.worker_pool.run_command("reset_latencies"),
            producer.sent_records,
        )
        cpu_started, started = time.process_time(), time.monotonic()
        last_report, last_status = started, status_before
        while producer.is_running and (now := time.monotonic()) < started + plan.seconds:
            time.sleep(min(_POLL_SECONDS, max(0.0, started + plan.seconds - now)))
            if now - last_report >= _PROGRESS_SECONDS:
                self._report_rates(now - started, now - last_report, workload, last_status)
                last_status, last_report = self.worker_pool.run_command("status"), now
                if on_sample is not None:
                    on_sample(now - started, self.scrape())
        metrics_after, status_after = self.scrape(), self.worker_pool.run_command("status")
        seconds = time.monotonic() - started
        producer_cpu_share = (time.process_time() - cpu_started) / seconds
        written, undelivered = (
            producer.sent_records - sent_before,
            workload.expected_deliveries() - status_after.received_events,
        )
        cpu_seconds = metrics_after[CPU_SECONDS_METRIC] - metrics_before[CPU_SECONDS_METRIC]
        delivered = status_after.received_events - status_before.received_events
        producer.wait_finished()
        checked = self._wait_for_deliveries(workload)
        return {
            "seconds": round(seconds, 3),
            "produced_per_second": round(written / seconds, 1),
            "producer_latest_ms": round(producer.max_lateness_seconds * 1e3, 3),
            "deliveries_per_second": round(delivered / seconds, 1),
            "deliveries_per_cpu_second": ratio(delivered, cpu_seconds),
            "records_per_cpu_second": ratio(written, cpu_seconds),
            "bridge_cpu": round(cpu_seconds / seconds, 3),
            "behind_at_the_end": max(0, undelivered),
            **self.delivery_figures(workload, checked),
            "client_use": round(status_after.max_cpu_share(status_before, seconds), 3),
            "producer_use": round(producer_cpu_share, 3),
        }

    def delivery_figures(self, workload: Workload, checked: PoolStatus) -> dict[str, Any]:
        """Return latencies, delivery errors and closes as figures of a result."""
        return {
            "latency_ms": checked.latencies.percentiles_ms(),
            "due": workload.expected_deliveries(),
            "received": checked.received_events,
            **checked.delivery_errors._asdict(),
            "gaps": checked.counters["gaps"],
            "cut": checked.closed,
            "closes": dict(checked.close_codes),
        }

    def _wait_for_deliveries(self, workload: Workload) -> PoolStatus:
        """Wait until all events have arrived, or no more arrive; return the checked status."""
        best, last_progress = -1, time.monotonic()
        while (
            received := self.worker_pool.run_command("status").received_events
        ) < workload.expected_deliveries():
            now = time.monotonic()
            if received > best:
                best, last_progress = received, now
            if now - last_progress > _DELIVERY_STALL_SECONDS:
                break
            time.sleep(_POLL_SECONDS)
        return self.check_delivery(workload)

    def check_delivery(self, workload: Workload) -> PoolStatus:
        """Compare what every client received with what was written."""
        return self.worker_pool.run_command(
            "check_delivery", expected=dict(workload.sent_by_sequence)
        )

    def _report_rates(
        self,
        elapsed_seconds: float,
        interval_seconds: float,
        workload: Workload,
        last_status: PoolStatus,
    ) -> None:
        pool_status = self.worker_pool.run_command("status")
        deliveries_per_second = (
            pool_status.received_events - last_status.received_events
        ) / interval_seconds
        self.on_progress(
            f"{elapsed_seconds:5.0f} s  {workload.sent_by_sequence.total():,} written,"
            f" {pool_status.received_events:,} delivered, {deliveries_per_second:,.0f}/s;"
            f" busiest worker {pool_status.max_cpu_share(last_status, interval_seconds):.0%}"
        )


def ratio(count: float, amount: float) -> float | None:
    """Return `count / amount`, rounded; None if `amount` is zero."""
    return round(count / amount, 1) if amount > 0 else None
