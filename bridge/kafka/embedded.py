"""A broker for development inside this process: librdkafka's mock cluster.

It speaks enough of Kafka to produce, fetch, commit and create topics by using them. It keeps
nothing on disk, drops old records after a few megabytes, and knows no admin calls or offsets by
time: what is tried on it is tried, not proven.
"""

from __future__ import annotations

from confluent_kafka import KafkaException, Producer

_TIMEOUT = 10.0


class EmbeddedBroker:
    """One broker on a loopback port of its own; it lives as long as this object."""

    def __init__(self, topics: list[str]) -> None:
        """Start it, with `topics` of four partitions each.

        Raises:
            RuntimeError: If it does not come up.
        """
        self._client = Producer(
            {"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0}
        )
        try:
            brokers = self._client.list_topics(timeout=_TIMEOUT).brokers.values()
            for topic in topics:
                self._client.list_topics(topic, timeout=_TIMEOUT)
        except KafkaException as error:
            raise RuntimeError(f"the embedded broker did not start: {error}") from None
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
