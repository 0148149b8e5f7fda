"""One Kafka for each worker, `--tier`, and a reason for tests that cannot run here.

Rule: a test with a marker is skipped where its program is absent, with the sentence that says what
to install. A test without a marker needs no program.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from tests import tiers
from tests.harness import required_programs
from tests.harness.admin import fresh_name
from tests.harness.kafka_cluster import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# The command's thresholds. Python's own make collections take an eighth of a run's time.
gc.set_threshold(50_000, 20, 100)
# Before any test module is imported, for some ask how many examples to try.
tiers.register_hypothesis_profiles()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tier", choices=tiers.TIERS, help="run the tests of this tier only")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    # Importing what drives a browser takes each worker 0.3 s.
    is_elsewhere = config.getoption("tier") in {"fast", "kafka"}
    return True if is_elsewhere and collection_path in tiers.JOURNEY_FOLDERS else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if chosen := config.getoption("tier"):
        by_tier: dict[str, list[pytest.Item]] = {tier: [] for tier in tiers.TIERS}
        for item in items:
            by_tier[tiers.tier_of(item)].append(item)
        items[:] = by_tier.pop(chosen)
        config.hook.pytest_deselected(
            items=[item for others in by_tier.values() for item in others]
        )
    for item in items:
        # The first test also waits for the broker and perhaps for its jars. These have deadlines of
        # their own, so they are not part of the test's time.
        if item.get_closest_marker("kafka") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(func_only=True))


def pytest_collection_finish() -> None:
    # The tests and all modules last to the end of the run.
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in required_programs.REQUIRED_PROGRAMS:
        if item.get_closest_marker(marker) and (why := required_programs.missing_sentence(marker)):
            pytest.skip(why)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster]:
    """One broker of this worker: use topics of your own, and leave it running."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def topic_name() -> str:
    """A topic name that no other test has; for several, call `fresh_name`."""
    return fresh_name()
