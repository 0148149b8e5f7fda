"""Kafka is not called out of reach for a delay of this process's own event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiokafka.errors import RequestTimedOutError

from bridge.kafka.client.loop_delay import LoopDelay
from bridge.kafka.consumer import Consumer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def test_a_loop_that_turns_is_not_late_and_one_that_is_held_up_is():
    loop = asyncio.get_running_loop()
    delay = LoopDelay(check_seconds=0.01, late_seconds=0.1)
    watch = asyncio.create_task(delay.run())
    started_at = loop.time()
    await asyncio.sleep(0.03)
    assert not delay.was_late_since(started_at)
    time.sleep(0.15)  # noqa: ASYNC251 - what is tried is a loop that stands still
    await asyncio.sleep(0)
    assert delay.was_late_since(started_at)
    assert not delay.was_late_since(loop.time() + 0.01)
    watch.cancel()


class FailingClient:
    """Fails each request, after whatever `before` does."""

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        self.before = before
        self.requests = 0

    async def describe_topics(self, *_: object) -> None:
        self.requests += 1
        await self.before()
        raise RequestTimedOutError

    async def connect(self) -> None:
        """Connect to no purpose."""

    async def delete_group(self, _group: str) -> None:
        """There is none."""


async def refused(before: Callable[[], Awaitable[None]], caplog: pytest.LogCaptureFixture) -> Any:
    client = FailingClient(before)
    consumer = Consumer(cast("Any", client), "group", {"orders": "orders"}, cast("Any", None))
    consumer.loop_delay = LoopDelay(check_seconds=0.01, late_seconds=0.1)
    task = asyncio.create_task(consumer.run())
    with caplog.at_level(logging.WARNING, "bridge.kafka.consumer"):
        while not client.requests:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return consumer


async def test_a_request_that_fails_while_the_loop_stands_still_does_not_count(caplog):
    async def stand_still() -> None:
        await asyncio.sleep(0.03)
        time.sleep(0.15)  # noqa: ASYNC251 - what is tried is a loop that stands still
        await asyncio.sleep(0)

    consumer = await refused(stand_still, caplog)
    assert consumer.outages == 0
    assert consumer.stale_seconds() is None
    assert "out of reach" not in caplog.text


async def test_a_request_that_fails_while_the_loop_turns_counts(caplog):
    async def turn() -> None:
        await asyncio.sleep(0.03)

    consumer = await refused(turn, caplog)
    assert consumer.outages == 1
    assert "Kafka is out of reach" in caplog.text
