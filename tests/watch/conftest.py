"""An instance to be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.watch.metrics_instance import MetricsInstance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def whole() -> AsyncIterator[MetricsInstance]:
    """An instance with all its parts, which do nothing by themselves."""
    made = MetricsInstance()
    async with made.http:
        yield made
