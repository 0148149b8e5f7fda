"""An instance to be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.watch.whole import Whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def whole() -> AsyncIterator[Whole]:
    """An instance with all its parts, which do nothing by themselves."""
    made = Whole()
    async with made.http:
        yield made
