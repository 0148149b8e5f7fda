"""`/metrics` of an instance with all its parts, none of which has begun its work.

The rule kept here: every part is the real one, so what is told is what an instance tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bridge.app.pipeline import Reading, Span
from bridge.app.status import Parts
from bridge.coordination.dead_letters import Casualties, Letters
from bridge.coordination.leader import Duties
from bridge.coordination.leader_tasks import Steward
from bridge.coordination.state_writer import Scribe
from bridge.coordination.topics import Own
from bridge.core.coordination.presence import Census
from bridge.core.protocol.envelope import Router
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import Bounds
from bridge.kafka.client.client import Access
from bridge.kafka.consumer import Feed
from bridge.kafka.offsets import Horizon
from bridge.kafka.on_demand import Sleepers
from bridge.kafka.producer import Writer
from bridge.kafka.replay.scan import Source
from bridge.kafka.replay.scheduler import Replayer, Rules
from bridge.web.app import site
from bridge.web.auth.authenticator import OpenGate
from bridge.web.auth.origins import Doors
from bridge.web.connections.admission import Entrance, Limits
from bridge.web.connections.pool import Sockets
from bridge.web.endpoints.metrics import Metrics, metrics
from tests.kafka.memory import MemoryCluster

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

TOPIC = "orders"
ASLEEP = "rare"  #: on demand, and nobody is there
NAMES = {TOPIC: TOPIC, ASLEEP: ASLEEP}


class Whole:
    """One instance, of which a test may ask anything that `/metrics` is made of."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.hub = Hub(
            "i1",
            dict.fromkeys(NAMES, False),
            heartbeat=25.0,
            ceiling=1 << 20,
            jitter=float,
            on_demand=[ASLEEP],
        )
        self.entrance = Entrance(
            self.hub,
            OpenGate(),
            Doors(),
            Limits(Bounds(200, 50, 300)),
            catch_up=CatchUp(self.hub, retention.Limits(1000, 1 << 20), 1 << 20),
        )
        self.sockets = Sockets(self.entrance)
        self.router = Router(1 << 20)
        casualties = Casualties()
        self.span = Span(self.router, self.entrance, self.sockets, casualties.count)
        sources = {name: [name] for name in NAMES}
        sleepers = Sleepers({ASLEEP: 30}, sources, self.hub.demand.followed, wait_seconds=30)
        self.feed = Feed(self.cluster, "group", sources, self.span, sleepers=sleepers)
        replayer = Replayer(
            self.entrance.catch_up,
            Horizon(self.cluster, NAMES, max_age_seconds=60),
            Source(
                self.cluster, sources, self.feed.ids, self.feed.partitions.leader, self.router.route
            ),
            Rules(passes=2, wait_seconds=30),
            flush=self.sockets.flush_in_slices,
            overloaded=self.span.overloaded,
        )
        reading = Reading(self.feed, replayer, casualties, self._parts())
        self.entrance.upstream = reading
        app = site(Doors(), [metrics(Metrics(self.hub, self.entrance, reading))])
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://bridge.example"
        )

    def _parts(self) -> Parts:
        access, own = Access("127.0.0.1:1", {}), Own("push-bridge")
        steward = Steward(
            access,
            self.cluster,
            own,
            Census(),
            Letters(),
            letters_per_second=100,
            current=lambda: True,
            feed=self.feed.partitions,
        )
        writer, scribe = Writer(access, NAMES), Scribe(access)
        return Parts([writer], scribe, steward, Duties(access, own, steward))

    async def text(self) -> str:
        """Return what `/metrics` says."""
        answer = await self.http.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def families(self) -> dict[str, Metric]:
        """Return the families, by their names."""
        return {each.name: each for each in text_string_to_metric_families(await self.text())}

    async def samples(self) -> dict[str, set[str]]:
        """Return the names of all samples, each with the labels that it has."""
        found: dict[str, set[str]] = {}
        for family in (await self.families()).values():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    async def values(self) -> dict[str, float]:
        """Return every sample, its labels behind its name as `name{label}`."""
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in (await self.families()).values()
            for sample in family.samples
        }


def described(family: Metric) -> str:
    """Return `family` as the documentation calls it: its name, and its labels in braces."""
    names: set[str] = {name for sample in family.samples for name in sample.labels} - {"le"}
    name = family.name + ("_total" if family.type == "counter" else "")
    return name + ("{" + ", ".join(sorted(names)) + "}" if names else "")
