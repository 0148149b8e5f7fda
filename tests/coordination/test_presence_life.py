"""What an instance says of itself: while it runs, at its end, and where another has its name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from bridge.coordination import presence as heralding
from bridge.core.coordination.state_records import Alive, Gone
from tests.core.given import attached
from tests.kafka.pacing import until
from tests.kafka.saying import OWN, Speaker, fact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@contextlib.asynccontextmanager
async def running(it: Speaker) -> AsyncIterator[asyncio.Task[None]]:
    """Let its herald run; it has heard itself when this begins."""
    task = asyncio.create_task(it.herald.run())
    await until(lambda: it.notebook.said)
    it.echo()
    it.notebook.take()
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_says_that_it_is_here_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heralding, "ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(heralding, "TICK_SECONDS", 0.001)
    it = Speaker(ready=False)
    attached(it.hub, "c1")
    async with running(it):
        await until(lambda: len(it.notebook.said) > 10)
    state = (each for each in it.notebook.take() if each.topic == OWN.state)
    told = [each for each in map(fact, state) if isinstance(each, Alive)]
    assert len(told) > 3
    (boot,) = {each.boot for each in told}
    assert boot == it.herald.boot
    assert {(each.connections, each.ready) for each in told} == {(1, False)}


async def test_it_says_who_came_while_it_runs() -> None:
    it = Speaker()
    async with running(it):
        attached(it.hub, "c1")
        await until(lambda: it.notebook.said)
        assert it.words() == ["+connection,c1", "connected c1"]


async def test_at_its_end_it_is_taken_back_once_nobody_is_left() -> None:
    it = Speaker()
    async with running(it):
        ann = attached(it.hub, "c1")
        await until(lambda: it.notebook.said)
        it.hub.detach(ann)
        it.notebook.take()
    assert it.words()[-3:] == ["-connection,c1", "disconnected c1 1006", "-instance,i1"]
    it.herald.hear(Gone("instance", (it.hub.instance,)))
    assert it.words() == [], "it has ended"


async def test_at_its_end_others_tell_of_who_is_still_here() -> None:
    it = Speaker()
    async with running(it):
        attached(it.hub, "c1")
        await until(lambda: it.notebook.said)
    assert "-instance,i1" not in it.words()


async def test_at_its_end_others_tell_it_where_it_does_not_hear_itself() -> None:
    it = Speaker()
    async with running(it):
        it.now += 60
    assert "-instance,i1" not in it.words()


def test_that_it_is_gone_is_answered_at_once() -> None:
    it = Speaker()
    it.herald.hear(Gone("instance", (it.hub.instance,)))
    assert it.words() == ["+instance,i1"]


def test_two_of_one_name_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    it = Speaker()
    with caplog.at_level(logging.ERROR, heralding.__name__):
        it.echo()
        it.herald.hear(it.alive(boot="of the start before", seconds=1.0))
        assert caplog.messages == [], "that was before it began"
        it.now += 2
        for _ in range(3):
            it.herald.hear(it.alive(boot="of the other"))
            it.echo()
    (line,) = caplog.messages
    assert "i1" in line
    assert "BRIDGE_INSTANCE" in line
