"""`/metrics` in Prometheus' format.

Rules: a counter costs the hot path one addition; samples are built when scraped. Known label values
start at 0, because a series that first appears at 1 has no rate.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from bridge import __version__
from bridge.core.protocol import close_codes
from bridge.web.transport.http_connections import REFUSAL_REASONS as HTTP_REFUSAL_REASONS
from bridge.web.upstream import MetricSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.stats import Histogram
    from bridge.web.connections.admission import AdmissionController, ClientCounters
    from bridge.web.transport.http_connections import HttpConnections
    from bridge.web.upstream import MetricSource, Upstream

_PREFIX: Final = "push_bridge_"
_CONNECTION_KINDS: Final = ("websocket", "sse")
_GAP_REASONS: Final = ("expired", "truncated", "recreated", "corrupt", "limit", "removed")
_REFUSAL_REASONS: Final = (
    *("origin", "bad_request", "unauthenticated", "expired", "forbidden"),
    *("draining", "not_ready", "stale", "rate", "connections", "account", "address"),
    *("no_keys", "too_early", "callback", "kafka", "descriptors"),
)


class MetricsCollector:
    """Collects the metrics of one instance for prometheus-client."""

    def __init__(
        self,
        hub: Hub,
        admission: AdmissionController,
        metric_source: MetricSource,
        *,
        counters: ClientCounters,
        catch_up: CatchUp,
        upstream: Upstream,
        http_connections: HttpConnections,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` returns seconds since 1970, the clock of record timestamps."""
        self._hub = hub
        self._admission = admission
        self._metric_source = metric_source
        self._counters = counters
        self._catch_up = catch_up
        self._upstream = upstream
        self._http_connections = http_connections
        self._wall_clock = wall_clock

    def collect(self) -> Iterator[Metric]:
        """Yield all metric families."""
        for sample in (
            *self._stream_samples(),
            *self._client_samples(),
            *self._state_samples(),
            *self._metric_source.samples(),
        ):
            yield _metric_family(sample)
        latency = self._hub.counters.latency_seconds
        yield _histogram(
            "delivery_latency_seconds",
            "Seconds from a record's timestamp to its write to a socket.",
            latency,
        )
        build_labels = {"version": __version__, "name": self._hub.instance}
        yield InfoMetricFamily(f"{_PREFIX}build", "Version and instance name.", build_labels)

    def _stream_samples(self) -> Iterator[MetricSample]:
        hub, counters, catch_up = self._hub, self._hub.counters, self._catch_up
        yield _counter(
            "records_read", "Records read from Kafka by live reading.", counters.records_read
        )
        yield _labelled_counter(
            "records_unaddressed",
            "Records without an audience.",
            "topic",
            hub.topic_positions,
            counters.records_unaddressed,
        )
        yield _labelled_counter(
            "records_filtered",
            "Records that a route's `when` excludes.",
            "topic",
            hub.topic_positions,
            counters.records_filtered,
        )
        yield _counter(
            "events_routed", "Records that are events with an audience.", counters.records_addressed
        )
        yield _counter(
            "events_delivered",
            "Events delivered, counted once per client.",
            hub.events_delivered,
        )
        yield _labelled_counter(
            "feed_gaps",
            "Gaps in live reading.",
            "reason",
            _GAP_REASONS,
            counters.gaps_by_reason,
        )
        yield _counter("resumes", "Clients that resumed.", catch_up.resume_count)
        yield _labelled_counter(
            "replay_gaps",
            "Topics of resuming clients that were not replayed.",
            "reason",
            _GAP_REASONS,
            catch_up.gap_counts,
        )

    def _client_samples(self) -> Iterator[MetricSample]:
        admission = self._admission
        sessions = self._hub.registry.by_id.values()
        kinds = Counter(dict.fromkeys(_CONNECTION_KINDS, 0))
        kinds.update([session.connection.kind for session in sessions])
        outbox_bytes = sum([session.outbox.pending_bytes for session in sessions])
        yield MetricSample("connections", "Open client connections.", admission.connection_count)
        yield MetricSample("clients", "Clients that got their welcome frame.", kinds, "kind")
        codes = [str(close.code) for close in close_codes.CLOSE_CODES]
        closes = {str(code): count for code, count in self._counters.closes_by_code.items()}
        yield _labelled_counter(
            "closes", "Connections closed by the bridge, by close code.", "code", codes, closes
        )
        yield _counter("handshakes", "Admitted clients.", self._counters.admitted_total)
        help_text = "Refused clients."
        yield _labelled_counter(
            "handshakes_refused",
            help_text,
            "reason",
            _REFUSAL_REASONS,
            self._counters.refused_by_reason,
        )
        http = self._http_connections
        yield MetricSample(
            "http_connections",
            "Plain HTTP connections; WebSockets and event streams do not count.",
            len(http),
        )
        yield _labelled_counter(
            "http_refused",
            "Refused or closed HTTP connections.",
            "reason",
            HTTP_REFUSAL_REASONS,
            http.refused_by_reason,
        )
        yield MetricSample("outbox_bytes", "Bytes queued for slow clients.", outbox_bytes)

    def _state_samples(self) -> Iterator[MetricSample]:
        hub, admission = self._hub, self._admission
        yield MetricSample("replaying", "Clients in replay.", len(hub.replaying))
        yield MetricSample(
            "journal_bytes", "Bytes of memory used by the journal.", hub.journal.used_bytes
        )
        oldest_ms = hub.journal.oldest_timestamp_ms
        age_seconds = 0.0 if oldest_ms is None else max(0.0, self._wall_clock() - oldest_ms / 1000)
        yield MetricSample(
            "journal_age_seconds",
            "Age of the oldest event in the journal, in seconds.",
            age_seconds,
        )
        is_ready = self._upstream.is_ready() and not admission.is_draining
        yield MetricSample(
            "ready", "1 from the first catch-up with Kafka until the drain.", is_ready
        )
        stale_seconds = self._upstream.stale_seconds() or 0.0
        yield MetricSample(
            "stale_seconds", "Seconds without Kafka; 0 while Kafka responds.", stale_seconds
        )


def _counter(name: str, help_text: str, value: int) -> MetricSample:
    return MetricSample(name, help_text, value, is_counter=True)


def _labelled_counter(
    name: str,
    help_text: str,
    label: str,
    known_label_values: Iterable[str],
    values: Mapping[str, int],
) -> MetricSample:
    return MetricSample(
        name, help_text, {**dict.fromkeys(known_label_values, 0), **values}, label, is_counter=True
    )


def _metric_family(sample: MetricSample) -> Metric:
    family_type = CounterMetricFamily if sample.is_counter else GaugeMetricFamily
    family = family_type(
        _PREFIX + sample.name,
        sample.help_text,
        labels=[sample.label_name] if sample.label_name else (),
    )
    if isinstance(sample.value, Mapping):
        for label, value in sample.value.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], sample.value)
    return family


def _histogram(name: str, help_text: str, histogram: Histogram) -> Metric:
    bounds = [*map(str, histogram.bounds), "+Inf"]
    buckets = list(zip(bounds, histogram.cumulative_counts(), strict=True))
    return HistogramMetricFamily(
        _PREFIX + name, help_text, buckets=buckets, sum_value=histogram.sum
    )


def metrics_router(collector: MetricsCollector) -> APIRouter:
    """Return the route of `/metrics`."""
    router = APIRouter(tags=["metrics"])
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    text_content = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "All metrics", **text_content}},
    )
    async def get_metrics(request: Request) -> Response:
        """Get all metrics in Prometheus' text format or OpenMetrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return router
