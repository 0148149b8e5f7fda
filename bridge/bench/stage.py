"""Where every scenario plays: clients, a producer, and the bridge's own figures.

Rule: what is told of the bridge is measured between two moments, after a warm-up and while the
producer writes; what is told of events is judged over all of them, once the last has come.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, Self

from bridge.bench.load.job import Trouble
from bridge.bench.load.payload import fresh_run
from bridge.bench.load.worker_pool import Crew
from bridge.bench.producer import Producer
from bridge.bench.report import CPU, allow_files, scrape, version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.bench.load.job import Job
    from bridge.bench.load.worker_pool import Standing
    from bridge.bench.plan import Plan
    from bridge.bench.workloads import Source

_POLL: Final = 0.05
_TELL: Final = 1.0
_STANDSTILL: Final = 5.0  # seconds without anything new, after which nothing is waited for
_TO_OPEN: Final = 30.0


class Stage:
    """The means of one measurement; they are put away with the `with`."""

    crew: Crew
    producer: Producer

    def __init__(self, plan: Plan, tell: Callable[[str], None]) -> None:
        self.plan = plan
        self.run = fresh_run()
        self.room = f"bench:{self.run}"
        self.tell = tell
        self._ends = ExitStack()
        self.partitions = 0
        self.version = "unknown"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def set_up(self, job: Job, *, produces: bool = True) -> dict[str, float]:
        """Ask the bridge, and Kafka if it is needed; start the processes of clients.

        Returns the bridge's figures before anybody has connected.
        """
        plan = self.plan
        allow_files(-(-plan.connections // plan.processes))
        before = self.scrape()
        self.version = version(before)
        if produces:
            self.producer = Producer(plan.kafka, plan.kafka_topic)
            self._ends.callback(self.producer.stop)
            self.partitions = self.producer.partitions()
        self.crew = self._ends.enter_context(Crew(job, plan.processes))
        return before

    def scrape(self) -> dict[str, float]:
        """Return what the bridges tell."""
        return scrape(self.plan.metrics)

    def open(self) -> dict[str, Any]:
        """Let everybody connect, and wait until everybody is welcome."""
        before = self.scrape()
        seconds = self.await_all("come", lambda it: it.open, "connected")
        used = self.scrape()[CPU] - before[CPU]
        standing = self.crew.order("status")
        return {
            "open_seconds": round(seconds, 3),
            "accepts_per_second": round(self.plan.connections / seconds, 1),
            "accepts_per_cpu_second": per(self.plan.connections, used),
            "told_to_come_later": standing.count["later"],
        }

    def await_all(
        self,
        do: str,
        reached: Callable[[Standing], int],
        word: str,
        **more: Any,  # noqa: ANN401 - JSON
    ) -> float:
        """Order something, wait until all clients have `reached` it, return the seconds."""
        everybody = self.plan.connections
        begun = progress = told = time.monotonic()
        standing = self.crew.order(do, **more)
        best = -1
        while (count := reached(standing)) < everybody:
            now = time.monotonic()
            if count > best:
                best, progress = count, now
            if now - progress > _TO_OPEN:
                raise Trouble(
                    f"{count} of {everybody} clients are {word}, and no more for {_TO_OPEN:.0f} s;"
                    f" {standing.count['later']} were told to come later"
                    " (BRIDGE_LIMITS__CONNECTIONS, BRIDGE_LIMITS__HANDSHAKES_PER_SECOND)"
                )
            if now - told >= _TELL:
                told = now
                self.tell(f"{now - begun:5.0f} s  {count:,} {word}")
            time.sleep(_POLL)
            standing = self.crew.order("status")
        seconds = time.monotonic() - begun
        self.tell(f"{seconds:7.1f} s  all {everybody:,} {word}")
        return seconds

    def write(self, source: Source, rate: float, count: int) -> None:
        """Write `count` records, and wait until Kafka has them."""
        self.producer.start(source, rate, count)
        self.producer.finish()

    def drive(
        self, source: Source, alongside: Callable[[float, Mapping[str, float]], None] | None = None
    ) -> dict[str, Any]:
        """Write at the plan's rate for its seconds; return the figures.

        `alongside` is told the bridge's figures every second, and the seconds since the start.
        """
        plan, producer = self.plan, self.producer
        producer.start(source, plan.rate, max(1, int(plan.rate * (plan.warmup + plan.seconds))))
        time.sleep(plan.warmup)
        bridge, standing, sent = self.scrape(), self.crew.order("mark"), producer.sent
        ours, begun = time.process_time(), time.monotonic()
        told, last = begun, standing
        while producer.runs and (now := time.monotonic()) < begun + plan.seconds:
            time.sleep(min(_POLL, max(0.0, begun + plan.seconds - now)))
            if now - told >= _TELL:
                self._tell_progress(now - begun, now - told, source, last)
                last, told = self.crew.order("status"), now
                if alongside is not None:
                    alongside(now - begun, self.scrape())
        bridge_after, after = self.scrape(), self.crew.order("status")
        seconds = time.monotonic() - begun
        own = (time.process_time() - ours) / seconds
        written, behind = producer.sent - sent, source.due() - after.received
        used = bridge_after[CPU] - bridge[CPU]
        delivered = after.received - standing.received
        producer.finish()
        judged = self._drain(source)
        return {
            "seconds": round(seconds, 3),
            "produced_per_second": round(written / seconds, 1),
            "producer_latest_ms": round(producer.latest * 1e3, 3),
            "deliveries_per_second": round(delivered / seconds, 1),
            "deliveries_per_cpu_second": per(delivered, used),
            "records_per_cpu_second": per(written, used),
            "bridge_cpu": round(used / seconds, 3),
            "behind_at_the_end": max(0, behind),
            **self.events(source, judged),
            "client_use": round(after.busiest(standing, seconds), 3),
            "producer_use": round(own, 3),
        }

    def events(self, source: Source, judged: Standing) -> dict[str, Any]:
        """Return what clients were given, judged."""
        return {
            "latency_ms": judged.latency.milliseconds(),
            "due": source.due(),
            "received": judged.received,
            **judged.verdict._asdict(),
            "gaps": judged.count["gaps"],
            "cut": judged.gone,
            "closes": dict(judged.closes),
        }

    def _drain(self, source: Source) -> Standing:
        """Wait for what is on its way; return the judgement."""
        last, since = -1, time.monotonic()
        while (received := self.crew.order("status").received) < source.due():
            now = time.monotonic()
            if received > last:
                last, since = received, now
            if now - since > _STANDSTILL:
                break
            time.sleep(_POLL)
        return self.judge(source)

    def judge(self, source: Source) -> Standing:
        """Let every client say what it lacks."""
        return self.crew.order("judge", owed=dict(source.sent))

    def _tell_progress(self, at: float, lap: float, source: Source, last: Standing) -> None:
        standing = self.crew.order("status")
        speed = (standing.received - last.received) / lap
        self.tell(
            f"{at:5.0f} s  {source.sent.total():,} written, {standing.received:,} delivered,"
            f" {speed:,.0f}/s; clients' process {standing.busiest(last, lap):.0%} busy"
        )


def per(count: float, used: float) -> float | None:
    """Return `count` per second of `used`; None where too little was used to tell."""
    return round(count / used, 1) if used > 0 else None
