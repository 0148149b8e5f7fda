"""A real Apache Kafka on loopback, of one broker or several, that a test may kill and revive.

    with KafkaCluster(brokers=3) as cluster:
        cluster.kill(0)  # SIGKILL
        cluster.start(0)  # the same ports, the same data

The rule kept here: what a test sees is Kafka itself, with nothing faked; and nothing of it is left
when the cluster is closed or the test process ends. All methods block: in a coroutine call them by
`await asyncio.to_thread(cluster.kill, 0)`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.harness import java, required_programs
from tests.harness.broker_config import LISTENERS, SCRAM_MECHANISM, server_properties
from tests.harness.certificates import write_certificates
from tests.harness.java import BrokerError
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BrokerError", "KafkaCluster", "missing_kafka"]

POLL_SECONDS = 0.05
METADATA_TIMEOUT_SECONDS = 2.0
TAIL_CHARACTERS = 4000


def missing_kafka() -> str | None:
    """The sentence that says what to install for a real Kafka; None if all is there."""
    return required_programs.missing_sentence("kafka")


class KafkaCluster:
    """Brokers 0 to n-1, each of them a controller too.

    `properties` go into every broker's `server.properties` and win over the harness's own. With
    `racks`, one a broker, leaders name the replica in a consumer's rack (KIP-392), and `metric`
    reads what brokers count.
    """

    # The one user that the SCRAM listener knows.
    USER = "bridge"
    PASSWORD = "a-password-for-tests"

    # Kafka's command line tools, for `tool`.
    CONSUMER_GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    TOPICS = "org.apache.kafka.tools.TopicCommand"
    CONFIGS = "kafka.admin.ConfigCommand"
    JMX = "org.apache.kafka.tools.JmxTool"

    def __init__(
        self,
        brokers: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        racks: Sequence[str] = (),
        heap: str = "512m",
        timeout_seconds: float = 180,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="push-bridge-kafka-"))
        self.ca_file, self._keystore = write_certificates(self.folder)
        self._properties = dict(properties or {})
        self._heap, self._timeout_seconds = heap, timeout_seconds
        self._racks = racks
        self._jmx_ports = free_ports(len(racks))
        ports = iter(free_ports(brokers * len(LISTENERS)))
        self._ports = [{name: next(ports) for name in LISTENERS} for _ in range(brokers)]
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            self._format_storage()
            self.start(*range(len(self._ports)))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            alive = [broker for broker, its in self._running.items() if its.poll() is None]
            if alive and not java.class_archive_path().exists():
                self.stop(alive[0])  # what it leaves speeds up every later start
        finally:
            self.close()

    @property
    def bootstrap(self) -> str:
        """The brokers' addresses, in the clear and for everybody."""
        return self._addresses("PLAINTEXT")

    @property
    def bootstrap_scram(self) -> str:
        """Their addresses for SASL_PLAINTEXT with SCRAM-SHA-256: `USER` and `PASSWORD`."""
        return self._addresses("SCRAM")

    @property
    def bootstrap_ssl(self) -> str:
        """Their addresses for TLS, with a certificate that `ca_file` vouches for."""
        return self._addresses("SSL")

    def start(self, *brokers: int) -> None:
        """Start these; return once each running broker knows all running ones."""
        for broker in brokers:
            if broker in self._running:
                raise BrokerError(f"broker {broker} was started before, and not stopped or killed")
            self._running[broker] = java.start_broker(
                self._broker_folder(broker) / "server.properties",
                heap=self._heap,
                log=self.log_file(broker),
                draft=self._class_archive_draft(broker),
                jmx_port=self._jmx_ports[broker] if self._racks else 0,
            )
        deadline = time.monotonic() + self._timeout_seconds
        for broker in self._running:
            self._wait(partial(self._is_ready, broker), deadline, broker, "is not ready")

    def stop(self, broker: int) -> None:
        """Ask the broker to end: it hands its leaderships over and closes its logs first."""
        self._running[broker].terminate()
        try:
            self._running[broker].wait(self._timeout_seconds)
        finally:
            self.kill(broker)
        java.keep_class_archive(self._class_archive_draft(broker))

    def kill(self, broker: int) -> None:
        """End the broker with SIGKILL, in the middle of whatever it does."""
        process = self._running.pop(broker)
        process.kill()
        process.wait()

    def pid(self, broker: int) -> int:
        """The process of a broker that was started."""
        return self._running[broker].pid

    def is_running(self, broker: int) -> bool:
        """Return whether the broker was started and has not ended by itself."""
        return broker in self._running and self._running[broker].poll() is None

    def restart(self, broker: int) -> None:
        """Stop the broker in order and start it again."""
        self.stop(broker)
        self.start(broker)

    def wait_in_sync(self) -> None:
        """Return once running brokers have all the copies that they should have.

        Between the restarts of a rolling restart: a broker that is ready still has to catch up.
        """
        deadline = time.monotonic() + self._timeout_seconds
        queried_broker = next(iter(self._running))
        is_ready = partial(self._is_in_sync, queried_broker)
        self._wait(is_ready, deadline, queried_broker, "sees copies out of sync")

    def close(self) -> None:
        """End all brokers at once and remove what they wrote."""
        for broker in list(self._running):
            self.kill(broker)
        shutil.rmtree(self.folder, ignore_errors=True)

    def tool(self, main_class: str, *arguments: str) -> str:
        """Run one of Kafka's command line tools, such as `TOPICS`, and return what it printed."""
        return java.run_tool(main_class, *arguments, timeout_seconds=self._timeout_seconds)

    def metric(self, broker: int, name: str, attribute: str) -> float:
        """Return an attribute of a broker's MBean, such as `kafka.server:type=...`; 0 if absent."""
        url = f"service:jmx:rmi:///jndi/rmi://{HOST}:{self._jmx_ports[broker]}/jmxrmi"
        printed = self.tool(
            self.JMX,
            *("--jmx-url", url, "--object-name", name, "--attributes", attribute, "--one-time"),
        )
        return sum(float(line.split(",")[1]) for line in printed.splitlines()[-1:] if "," in line)

    def log_file(self, broker: int) -> Path:
        """What the broker says about itself, over all its starts."""
        return self._broker_folder(broker) / "broker.log"

    def log_dir(self, broker: int = 0) -> Path:
        """Where the broker keeps its partitions, each in a folder `TOPIC-PARTITION`."""
        return self._broker_folder(broker) / "data"

    def segments(self, topic: str, partition: int = 0, *, broker: int = 0) -> list[Path]:
        """The segment files of a partition, oldest first; the last one is still written to.

        They are closed early where the topic was created with a small `segment.bytes`.
        """
        return sorted((self.log_dir(broker) / f"{topic}-{partition}").glob("*.log"))

    def _broker_folder(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}"

    def _class_archive_draft(self, broker: int) -> Path:
        return self._broker_folder(broker) / "classes.jsa"

    def _addresses(self, listener: str) -> str:
        return ",".join(f"{HOST}:{ports[listener]}" for ports in self._ports)

    def _format_storage(self) -> None:
        """Give each broker its settings and an empty store, as Kafka's own tool makes it."""
        for broker in range(len(self._ports)):
            self._broker_folder(broker).mkdir()
            (self._broker_folder(broker) / "server.properties").write_text(
                server_properties(
                    broker,
                    self._ports,
                    data=self.log_dir(broker),
                    keystore=self._keystore,
                    overrides=self._overrides(broker),
                )
            )
        self.tool(
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={_kafka_uuid()}",
            f"--config={self._broker_folder(0) / 'server.properties'}",
            f"--add-scram={SCRAM_MECHANISM}=[name={self.USER},password={self.PASSWORD}]",
        )
        # The tool takes a second a time, and two lines are all that differs between two brokers.
        meta = (self.log_dir(0) / "meta.properties").read_text()
        common = [s for s in meta.splitlines() if not s.startswith(("node.id", "directory.id"))]
        for broker in range(1, len(self._ports)):
            shutil.copytree(self.log_dir(0), self.log_dir(broker))
            own = [f"node.id={broker}", f"directory.id={_kafka_uuid()}"]
            (self.log_dir(broker) / "meta.properties").write_text("\n".join(common + own) + "\n")

    def _overrides(self, broker: int) -> dict[str, str]:
        if not self._racks:
            return self._properties
        selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
        rack = {"broker.rack": self._racks[broker], "replica.selector.class": selector}
        return rack | self._properties

    def _wait(
        self, condition: Callable[[], bool], deadline: float, broker: int, complaint: str
    ) -> None:
        while not condition():
            code = self._running[broker].poll()
            if code is not None or time.monotonic() > deadline:
                end = "" if code is None else f" and has ended with code {code}"
                tail = self.log_file(broker).read_text(errors="replace")[-TAIL_CHARACTERS:]
                raise BrokerError(f"broker {broker} {complaint}{end}; its log ends:\n{tail}")
            time.sleep(POLL_SECONDS)

    def _metadata(self, broker: int) -> Any:
        """The cluster as this very broker sees it; None while it does not answer.

        A new client each time, because one that has heard of other brokers may ask those.
        """
        address = f"{HOST}:{self._ports[broker]['PLAINTEXT']}"
        try:
            # Silent: that nobody listens yet is nothing to report.
            client = AdminClient({"bootstrap.servers": address, "log_level": 0})
            metadata = client.list_topics(timeout=METADATA_TIMEOUT_SECONDS)
        except KafkaException:
            return None
        return metadata if metadata.orig_broker_id == broker else None

    def _is_ready(self, broker: int) -> bool:
        metadata = self._metadata(broker)
        return metadata is not None and self._running.keys() <= metadata.brokers.keys()

    def _is_in_sync(self, broker: int) -> bool:
        metadata = self._metadata(broker)
        return metadata is not None and all(
            self._running.keys() & set(partition.replicas) <= set(partition.isrs)
            for topic in metadata.topics.values()
            for partition in topic.partitions.values()
        )


def _kafka_uuid() -> str:
    # Kafka reads an id that begins with a dash as an option of its tool.
    while (text := urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text
