"""An instance whose part fails drains, ends every other part, and closes the Kafka client."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from bridge.app import instance as instance_module
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


class DeafPart:
    """A part that waits for a Kafka that does not answer, also while it is cancelled."""

    def __init__(self) -> None:
        self.cancellations = 0
        self.is_ending = asyncio.Event()

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancellations += 1
            self.is_ending.set()
            try:
                await asyncio.Event().wait()  # as a consumer that leaves its group
            finally:
                self.cancellations += 1


async def run_until_drained(instance: Instance) -> float:
    """Drain the instance as soon as it serves; return how long that took."""
    task = asyncio.ensure_future(run(instance))
    while not instance._server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    started_at = asyncio.get_running_loop().time()
    instance.request_drain()
    assert instance._web.pool.drain_started.is_set()
    await task
    return asyncio.get_running_loop().time() - started_at


async def test_it_ends_in_time_though_kafka_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(instance_module, "_KAFKA_END_SECONDS", (0.1, 0.05))
    part = DeafPart()
    assert await run_until_drained(build(monkeypatch, part.run)) < TIMEOUT_SECONDS
    assert part.cancellations == 2
    assert "ending before Kafka answered" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_wait_for_kafka_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr(instance_module, "_KAFKA_END_SECONDS", (3_600.0, 3_600.0))
    part = DeafPart()
    ended = asyncio.ensure_future(run_until_drained(build(monkeypatch, part.run)))
    await part.is_ending.wait()
    os.kill(os.getpid(), number)
    assert await ended < TIMEOUT_SECONDS
    assert part.cancellations == 2
    assert "ending before" not in caplog.text


@pytest.mark.parametrize(
    ("drain_seconds", "elapsed_seconds", "is_forced", "seconds"),
    [
        (10, 0, False, 4.0),  # all have gone at once
        (10, 12, False, 2.5),
        (10, 14.4, False, 0.5),
        (0, 2, False, 2.5),
        (10, 0, True, 0.5),  # a second signal
    ],
)
async def test_an_instance_has_ended_within_5_s_of_the_drain(
    monkeypatch: pytest.MonkeyPatch,
    drain_seconds: float,
    elapsed_seconds: float,
    is_forced: bool,
    seconds: float,
) -> None:
    instance = build(monkeypatch, end)
    instance._drain_seconds = drain_seconds
    instance._drain_started_at = asyncio.get_running_loop().time() - elapsed_seconds
    instance._server.force_exit = is_forced
    assert instance._kafka_end_seconds() == pytest.approx(seconds, abs=0.05)
    assert instance_module.END_SECONDS < 5


async def test_a_part_that_fails_closes_all_clients_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    instance = build(monkeypatch, fail)
    assert instance._drain_seconds == 10
    with pytest.raises(RuntimeError, match="a bug"):
        await run(instance)
    assert instance._drain_seconds == 0
