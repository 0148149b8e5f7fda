"""What a journey may break: a broker that is no other test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.kafka_cluster import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def frail_kafka() -> Iterator[KafkaCluster]:
    """One broker that is no other test's, to be killed."""
    with KafkaCluster() as cluster:
        yield cluster
