"""`/metrics`: the bridge's own counters as Prometheus reads them.

Rules: counting costs the hot path an addition at most, and everything is put together when somebody
asks for it. Values of labels that are known beforehand are told from the start, as 0: what first
appears at 1 has no rate.
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
from bridge.web.upstream import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.metrics_core import Metric

    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.stats import Histogram
    from bridge.web.connections.admission import Entrance
    from bridge.web.upstream import Figures

_PREFIX: Final = "push_bridge_"
_KINDS: Final = ("websocket", "sse")
_GAPS: Final = ("expired", "truncated", "recreated", "corrupt")
_REFUSALS: Final = (
    *("origin", "bad_request", "unauthenticated", "expired", "forbidden"),
    *("draining", "not_ready", "stale", "rate", "connections", "account", "address"),
    *("no_keys", "kafka"),
)


class Metrics:
    """What the parts of one instance have counted, as Prometheus' families."""

    def __init__(
        self,
        hub: Hub,
        entrance: Entrance,
        figures: Figures,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` tells the seconds since 1970, which records' timestamps are of."""
        self._hub = hub
        self._entrance = entrance
        self._figures = figures
        self._wall = wall

    def collect(self) -> Iterator[Metric]:
        """Read every counter."""
        for figure in (*self._stream(), *self._clients(), *self._state(), *self._figures.figures()):
            yield _family(figure)
        latency = self._hub.tally.latency
        yield _histogram("delivery_latency_seconds", "From a record's time to its write.", latency)
        about = {"version": __version__, "name": self._hub.instance}
        yield InfoMetricFamily(f"{_PREFIX}build", "What runs here.", about)

    def _stream(self) -> Iterator[Figure]:
        hub, tally, begun = self._hub, self._hub.tally, self._entrance.catch_up
        yield _count("records_read", "Records read from Kafka, live.", tally.read)
        yield _count("records_unaddressed", "Records that name no audience.", tally.unaddressed)
        yield _count("events_routed", "Records that are events for somebody.", tally.routed)
        yield _count(
            "events_delivered", "Events handed to clients, once for each client.", hub.delivered
        )
        yield _counts("feed_gaps", "Gaps in what is read live.", "reason", _GAPS, tally.gaps)
        yield _count("resumes", "Clients that came back for what they missed.", begun.begun)
        yield _counts(
            "replay_gaps",
            "Topics that clients came back for and that were not replayed.",
            "reason",
            (*_GAPS, "limit"),
            begun.gaps,
        )

    def _clients(self) -> Iterator[Figure]:
        entrance = self._entrance
        sessions = self._hub.crowd.sessions.values()
        kinds = Counter(dict.fromkeys(_KINDS, 0))
        kinds.update([session.pipe.kind for session in sessions])
        waiting = sum([session.outbox.pending for session in sessions])
        yield Figure("connections", "Clients that are connected.", entrance.count)
        yield Figure("clients", "Clients that were welcomed.", kinds, "kind")
        codes = [str(each.code) for each in close_codes.CATALOGUE]
        closes = {str(code): count for code, count in entrance.closes.items()}
        yield _counts("closes", "Connections that the bridge closed.", "code", codes, closes)
        yield _count("handshakes", "Clients that were let in.", entrance.admitted)
        refused = "Clients that were not let in."
        yield _counts("handshakes_refused", refused, "reason", _REFUSALS, entrance.refused)
        yield Figure("outbox_bytes", "Bytes that wait for clients to read.", waiting)

    def _state(self) -> Iterator[Figure]:
        hub, entrance = self._hub, self._entrance
        yield Figure("replaying", "Clients that are being caught up.", len(hub.replaying))
        yield Figure("journal_bytes", "Memory that the journal takes.", hub.journal.bytes)
        oldest = hub.journal.oldest
        age = 0.0 if oldest is None else max(0.0, self._wall() - oldest / 1000)
        yield Figure("journal_age_seconds", "Age of the oldest event in the journal.", age)
        ready = entrance.upstream.ready() and not entrance.draining
        yield Figure("ready", "1 once it has caught up with Kafka, until it leaves.", ready)
        stale = entrance.upstream.stale() or 0.0
        yield Figure("stale_seconds", "Seconds without Kafka, 0 while it answers.", stale)


def _count(name: str, about: str, value: int) -> Figure:
    return Figure(name, about, value, counts=True)


def _counts(
    name: str, about: str, label: str, known: Iterable[str], values: Mapping[str, int]
) -> Figure:
    return Figure(name, about, {**dict.fromkeys(known, 0), **values}, label, counts=True)


def _family(figure: Figure) -> Metric:
    kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
    family = kind(
        _PREFIX + figure.name, figure.about, labels=[figure.label] if figure.label else ()
    )
    if isinstance(figure.value, Mapping):
        for label, value in figure.value.items():
            family.add_metric([label], value)
    else:
        family.add_metric([], figure.value)
    return family


def _histogram(name: str, about: str, values: Histogram) -> Metric:
    bounds = [*map(str, values.bounds), "+Inf"]
    buckets = list(zip(bounds, values.cumulated(), strict=True))
    return HistogramMetricFamily(_PREFIX + name, about, buckets=buckets, sum_value=values.sum)


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
