"""Heartbeats of an instance, its end, and two instances with one name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from bridge.coordination import presence as presence_module
from bridge.core.coordination.state_records import InstanceHeartbeat, Tombstone
from bridge.core.protocol import close_codes
from tests.coordination.presence_recorder import TOPICS, PresenceHarness, read_state_record
from tests.core.factories import attached_session
from tests.kafka.held_replays import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@contextlib.asynccontextmanager
async def running(it: PresenceHarness) -> AsyncIterator[asyncio.Task[None]]:
    """Run its publisher, which has read its heartbeat back."""
    task = asyncio.create_task(it.publisher.run())
    await wait_until(lambda: it.writer.written)
    it.apply_echo()
    it.writer.take_written()
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_heartbeats_are_published_repeatedly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence_module, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(presence_module, "POLL_INTERVAL_SECONDS", 0.001)
    it = PresenceHarness(ready=False)
    attached_session(it.hub, "c1")
    async with running(it):
        await wait_until(lambda: len(it.writer.written) > 10)
    state = (each for each in it.writer.take_written() if each.topic == TOPICS.state)
    heartbeats = [
        each for each in map(read_state_record, state) if isinstance(each, InstanceHeartbeat)
    ]
    assert len(heartbeats) > 3
    (boot,) = {each.boot for each in heartbeats}
    assert boot == it.publisher.boot
    assert {(each.connections, each.ready) for each in heartbeats} == {(1, False)}


async def test_a_new_client_is_published_while_it_runs() -> None:
    it = PresenceHarness()
    async with running(it):
        attached_session(it.hub, "c1")
        await wait_until(lambda: it.writer.written)
        assert it.take_summaries() == ["+connection,c1", "connected c1"]


async def test_the_instance_is_removed_on_stop_if_it_has_no_client() -> None:
    it = PresenceHarness()
    async with running(it):
        ann = attached_session(it.hub, "c1")
        await wait_until(lambda: it.writer.written)
        it.hub.detach(ann)
        it.writer.take_written()
    assert it.take_summaries()[-3:] == ["-connection,c1", "disconnected c1 1006", "-instance,i1"]
    it.publisher.apply(Tombstone("instance", (it.hub.instance,)))
    assert it.take_summaries() == [], "it has stopped"


async def test_the_leader_removes_an_instance_that_stops_with_clients() -> None:
    it = PresenceHarness()
    async with running(it):
        attached_session(it.hub, "c1")
        await wait_until(lambda: it.writer.written)
    assert "-instance,i1" not in it.take_summaries()


async def test_the_leader_removes_an_instance_that_stops_without_echo() -> None:
    it = PresenceHarness()
    async with running(it):
        it.now_seconds += 60
    assert "-instance,i1" not in it.take_summaries()


def test_a_tombstone_of_this_instance_is_answered_with_a_heartbeat() -> None:
    it = PresenceHarness()
    it.publisher.apply(Tombstone("instance", (it.hub.instance,)))
    assert it.take_summaries() == ["+instance,i1"]


def test_a_name_used_twice_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    it = PresenceHarness()
    with caplog.at_level(logging.ERROR, presence_module.__name__):
        it.apply_echo()
        it.publisher.apply(it.alive_record(boot="of the start before", seconds=1.0))
        assert caplog.messages == [], "a heartbeat from before its start"
        it.now_seconds += 2
        for _ in range(3):
            it.publisher.apply(it.alive_record(boot="of the other"))
            it.apply_echo()
    (line,) = caplog.messages
    assert "i1" in line
    assert "BRIDGE_INSTANCE" in line


async def test_clients_of_whom_nobody_can_tell_are_counted_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They came and went while Kafka was away, and the instance ends before it is back."""
    it = PresenceHarness()
    async with running(it):
        known = attached_session(it.hub, "known")
        await wait_until(lambda: it.writer.written)
        it.now_seconds += 100  # it reads its heartbeats back no more
        attached_session(it.hub, "came")
        for session in (known, it.hub.registry.by_id["came"]):
            it.hub.close(session, close_codes.DRAINING)
            it.hub.detach(session)
    assert it.publisher.unpublished_count == 1, "other instances tell of those that they know"
    assert [r.getMessage().rpartition(" ")[2] for r in caplog.records] == ["clients=1"]
