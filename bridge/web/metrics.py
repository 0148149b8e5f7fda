"""`/metrics`: the bridge's own counters as Prometheus reads them.

Rule: counting costs the hot path an addition at most; everything is put together when somebody
asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder

from bridge import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client.metrics_core import Metric

    from bridge.core.hub import Hub
    from bridge.web.entrance import Entrance
    from bridge.web.upstream import Figures

_PREFIX = "push_bridge_"


class Metrics:
    """What the parts of one instance have counted, as Prometheus' families."""

    def __init__(self, hub: Hub, entrance: Entrance, figures: Figures) -> None:
        self._hub = hub
        self._entrance = entrance
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Read every counter."""
        hub, entrance, figures = self._hub, self._entrance, self._figures
        dead = figures.dead()
        yield _counter("records_read", "Records read from Kafka, live.", hub.read)
        yield _counter(
            "replay_records_read", "Records read from Kafka again, to replay.", figures.replayed()
        )
        yield _counter("records_unaddressed", "Records that name no audience.", hub.unaddressed)
        routed = hub.read - hub.unaddressed - sum(dead.values())
        yield _counter("events_routed", "Records that are events for somebody.", routed)
        yield _counter(
            "events_delivered", "Events handed to clients, once for each client.", hub.delivered
        )
        yield _counters("dead_letters", "Records that can not be used.", "reason", dead)
        yield _gauge("connections", "Clients that are connected.", entrance.count)
        closes = {str(code): count for code, count in entrance.closes.items()}
        yield _counters("closes", "Connections that the bridge closed.", "code", closes)
        waiting = sum(session.outbox.pending for session in hub.interest.everybody)
        yield _gauge("outbox_bytes", "Bytes that wait for clients to read.", waiting)
        lag = GaugeMetricFamily(
            f"{_PREFIX}lag",
            "Records that Kafka has and this instance has not read.",
            labels=["topic"],
        )
        for topic, records in figures.lag().items():
            lag.add_metric([topic], records)
        yield lag
        yield _gauge("ready", "1 once it has caught up with Kafka.", entrance.upstream.ready())
        stale = entrance.upstream.stale() or 0.0
        yield _gauge("stale_seconds", "Seconds without Kafka, 0 while it answers.", stale)
        about = {"version": __version__, "instance": hub.instance}
        yield InfoMetricFamily(f"{_PREFIX}build", "What runs here.", about)


def _counter(name: str, sentence: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, sentence, value)


def _gauge(name: str, sentence: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, sentence, value)


def _counters(name: str, sentence: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_PREFIX + name, sentence, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def metrics(collected: Metrics) -> APIRouter:
    """Return the route of `/metrics`."""
    router = APIRouter(tags=["metrics"])
    registry = CollectorRegistry()
    registry.register(collected)
    ProcessCollector(registry=registry)
    text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"description": "All metrics, as text", **text}},
    )
    async def read(request: Request) -> Response:
        """Tell what was counted, in Prometheus' text format or OpenMetrics."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"Content-Type": content_type})

    return router
