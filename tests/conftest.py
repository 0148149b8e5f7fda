"""Who gets what: one Kafka for all tests, and a reason for those that can not run here.

The rule kept here: a marker is a promise. A test that carries one is skipped where its program is
absent, with the sentence that says what to install; a test without one needs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness import required_programs
from tests.harness.admin import fresh_name
from tests.harness.kafka_cluster import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whichever test comes first waits for the broker, and perhaps for its jars. That has deadlines
    # of its own, and is not that test's time.
    for item in items:
        if item.get_closest_marker("kafka") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(func_only=True))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in required_programs.REQUIRED_PROGRAMS:
        if item.get_closest_marker(marker) and (why := required_programs.missing_sentence(marker)):
            pytest.skip(why)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One broker for the whole session: use topics of your own, and leave it running."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def topic_name() -> str:
    """A topic's name that no other test has; for several, call `fresh_name`."""
    return fresh_name()
