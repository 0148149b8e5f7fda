"""An instance whose part fails drains, ends every other part, and closes the Kafka client."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from bridge.app.instance import Instance
from bridge.config.settings import Settings
from bridge.kafka.client.client import KafkaAccess, KafkaClient

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_SECONDS = 20
HOST = "127.0.0.1"


class UnreachableClient(KafkaClient):
    """A client that no broker answers, which notes that it was closed."""

    is_closed = False

    async def connect(self) -> None:
        raise TimeoutError("no broker answers")

    async def close(self) -> None:
        self.is_closed = True


async def fail() -> None:
    raise RuntimeError("a bug")


async def end() -> None:
    """End at once, which no part of an instance does."""


def build(monkeypatch: pytest.MonkeyPatch, part: Callable[[], object]) -> Instance:
    settings = Settings(topics=["orders"], auth={"mode": "none"})
    instance = Instance(
        settings, access=KafkaAccess(f"{HOST}:1", {}), client_factory=UnreachableClient
    )
    monkeypatch.setattr(instance._web.pool, "run", part)
    return instance


async def run(instance: Instance) -> None:
    before = asyncio.all_tasks()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await instance.run(socket.create_server((HOST, 0)), on_ready=lambda: None)
    finally:
        assert asyncio.all_tasks() <= before


async def test_a_part_that_fails_ends_all_others_and_closes_the_client(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    instance = build(monkeypatch, fail)
    with pytest.raises(RuntimeError, match="a bug"):
        await run(instance)
    assert isinstance(instance._client, UnreachableClient)
    assert instance._client.is_closed
    assert "connections failed: the instance ends" in caplog.text


async def test_a_part_that_ends_by_itself_ends_the_instance(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    instance = build(monkeypatch, end)
    await run(instance)
    assert isinstance(instance._client, UnreachableClient)
    assert instance._client.is_closed
    assert "connections ended: the instance ends" in caplog.text
