"""Where every scenario plays: clients, a producer, and the bridge's own figures.

Rule: what is told of the bridge is measured between two moments, after a warm-up and while the
producer writes; what is told of events is judged over all of them, once the last has come.
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
_DELIVERY_STALL_SECONDS: Final = (
    5.0  # seconds without anything new, after which nothing is waited for
)
_CONNECT_STALL_SECONDS: Final = 30.0


class Measurement:
    """The means of one measurement; they are put away with the `with`."""

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
        """Ask the bridge, and Kafka if it is needed; start the processes of clients.

        Returns the bridge's figures before anybody has connected.
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
        """Return what the bridges tell."""
        return scrape_metrics(self.plan.metrics_urls)

    def connect_clients(self) -> dict[str, Any]:
        """Let everybody connect, and wait until everybody is welcome."""
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
        """Order something, wait until all clients have `count_reached` it, return the seconds."""
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
                    f"{count} of {client_count} clients are {state_name}, and no more for {_CONNECT_STALL_SECONDS:.0f} s;"
                    f" {pool_status.counters['later']} were told to come later"
                    " (BRIDGE_LIMITS__CONNECTIONS, BRIDGE_LIMITS__HANDSHAKES_PER_SECOND)"
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
        """Write `count` records, and wait until Kafka has them."""
        self.producer.start(workload, rate, count)
        self.producer.wait_finished()

    def run_workload(
        self,
        workload: Workload,
        on_sample: Callable[[float, Mapping[str, float]], None] | None = None,
    ) -> dict[str, Any]:
        """Write at the plan's rate for its seconds; return the figures.

        `on_sample` is told the bridge's figures every second, and the seconds since the start.
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
        """Return what clients were given, judged."""
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
        """Wait for what is on its way; return the judgement."""
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
        """Let every client say what it lacks."""
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
            f"{elapsed_seconds:5.0f} s  {workload.sent_by_sequence.total():,} written, {pool_status.received_events:,} delivered,"
            f" {deliveries_per_second:,.0f}/s; clients' process {pool_status.max_cpu_share(last_status, interval_seconds):.0%} busy"
        )


def ratio(count: float, amount: float) -> float | None:
    """Return `count` per second of `amount`; None where too little was used to tell."""
    return round(count / amount, 1) if amount > 0 else None
