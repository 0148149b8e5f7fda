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
SCRAM_MECHANISM = "SCRAM-SHA-256"


def server_properties(
    broker: int,
    ports: Sequence[Mapping[str, int]],
    *,
    data: Path,
    keystore: Path,
    overrides: Mapping[str, str],
) -> str:
    """The text of one broker's file; `ports` has, by broker, the port of each listener."""
    listener_urls = {name: f"{name}://{HOST}:{port}" for name, port in ports[broker].items()}
    advertised = [place for name, place in listener_urls.items() if name != "CONTROLLER"]
    voters = [
        f"{node}@{HOST}:{listener_ports['CONTROLLER']}" for node, listener_ports in enumerate(ports)
    ]
    replication_factor = str(min(3, len(ports)))
    min_in_sync = "2" if len(ports) > 2 else "1"
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(broker),
        "controller.quorum.voters": ",".join(voters),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": ",".join(listener_urls.values()),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in LISTENERS.items()),
        "sasl.enabled.mechanisms": SCRAM_MECHANISM,
        f"listener.name.scram.{SCRAM_MECHANISM.lower()}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.ssl.ssl.keystore.type": "PEM",
        "listener.name.ssl.ssl.keystore.location": str(keystore),
        "log.dirs": str(data),
        # A test that reads a topic which nobody created should fail, not create it.
        "auto.create.topics.enable": "false",
        "min.insync.replicas": min_in_sync,
        "transaction.state.log.min.isr": min_in_sync,
        "offsets.topic.replication.factor": replication_factor,
        "transaction.state.log.replication.factor": replication_factor,
        "share.coordinator.state.topic.replication.factor": replication_factor,
        "share.coordinator.state.topic.min.isr": min_in_sync,
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
