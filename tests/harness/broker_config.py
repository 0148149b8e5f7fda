"""What a broker of the tests is told at its start: its `server.properties`.

The rule kept here: everything that a test does not ask for is as in production, save what only
costs time on a small machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.harness.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Every broker listens in all these ways, so that no test needs a cluster of its own for one.
LISTENERS = {
    "PLAINTEXT": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "SCRAM": "SASL_PLAINTEXT",
    "SSL": "SSL",
}
SCRAM = "SCRAM-SHA-256"


def server_properties(
    broker: int,
    ports: Sequence[Mapping[str, int]],
    *,
    data: Path,
    keystore: Path,
    overrides: Mapping[str, str],
) -> str:
    """The text of one broker's file; `ports` has, by broker, the port of each listener."""
    places = {name: f"{name}://{HOST}:{port}" for name, port in ports[broker].items()}
    public = [place for name, place in places.items() if name != "CONTROLLER"]
    voters = [f"{node}@{HOST}:{own['CONTROLLER']}" for node, own in enumerate(ports)]
    copies = str(min(3, len(ports)))
    quorum = "2" if len(ports) > 2 else "1"
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(broker),
        "controller.quorum.voters": ",".join(voters),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(places.values()),
        "advertised.listeners": ",".join(public),
        "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in LISTENERS.items()),
        "sasl.enabled.mechanisms": SCRAM,
        f"listener.name.scram.{SCRAM.lower()}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.ssl.ssl.keystore.type": "PEM",
        "listener.name.ssl.ssl.keystore.location": str(keystore),
        "log.dirs": str(data),
        # A test that reads a topic which nobody created should fail, not create it.
        "auto.create.topics.enable": "false",
        "min.insync.replicas": quorum,
        "transaction.state.log.min.isr": quorum,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": quorum,
        # Time and memory: fifty partitions of each are for a company, three seconds for a crowd.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        # How soon a killed broker is missed, and may register anew: by default nine seconds.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "4000",
        "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
    }
    return "".join(f"{name}={value}\n" for name, value in (properties | dict(overrides)).items())
