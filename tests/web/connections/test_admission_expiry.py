"""The end of a grant: obeyed while connected, to the moment, and nothing is handed out after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sessions.permissions import Grant
from bridge.core.sessions.session import Session, Signal
from bridge.web.connections.admission import Expiries
from tests.web.rig import until
from tests.web.signing import shared_gate, signed

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig

LEEWAY = 5.0


class Clock:
    """The wall's clock, as a test says."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def guarded(open_rig: OpenRig, clock: Clock) -> Rig:
    return await open_rig(gate=shared_gate(), wall=clock)


async def test_a_grant_that_ends_closes_with_4005(guarded: Rig, clock: Clock) -> None:
    client = await guarded.join(f"token={signed(exp=int(clock.now) + 60)}")
    stays = await guarded.join(f"token={signed(exp=int(clock.now) + 61)}")
    for_ever = await guarded.join(f"token={signed(exp=None)}")
    clock.now += 60 + LEEWAY
    end = await client.end()
    assert (end.code, end.closing["code"], end.closing["reconnect"]) == (4005, 4005, True)
    for other in (stays, for_ever):
        await other.is_served()
    assert guarded.entrance.closes[4005] == 1


async def test_until_the_leeway_is_over_events_arrive(guarded: Rig, clock: Clock) -> None:
    client = await guarded.join(f"token={signed(exp=int(clock.now) + 60)}")
    clock.now += 60 + LEEWAY - 0.001
    guarded.publish(accounts=["alice"], data="in time")
    assert (await client.expect("event"))["data"] == "in time"
    clock.now += 0.001
    guarded.publish(accounts=["alice"], data="too late")
    end = await client.end()
    assert end.code == 4005
    assert [frame["op"] for frame in end.frames] == ["closing"]


async def test_what_was_queued_is_discarded(guarded: Rig, clock: Clock) -> None:
    raw = await guarded.open_raw(f"token={signed(exp=int(clock.now) + 60)}", receive_bytes=4096)
    session = guarded.hub.interest.accounts["alice"].copy().pop()
    number = 0
    while not session.outbox.pending:  # until neither the kernel nor the transport takes more
        guarded.publish(accounts=["alice"], data="x" * 50_000, id=str(number))
        number += 1
    clock.now += 60 + LEEWAY
    guarded.entrance.expire()
    code, last = await raw.end()
    assert code == 4005
    assert last is not None
    assert (last["op"], last["cursor"]) == ("closing", None), "no cursor would cover what was lost"
    assert guarded.hub.delivered == number


async def test_a_newer_token_moves_the_end(guarded: Rig, clock: Clock) -> None:
    client = await guarded.join(f"token={signed(exp=int(clock.now) + 60)}")
    assert (await client.ask("token", token=signed(exp=int(clock.now) + 600)))["ok"] is True
    clock.now += 300
    guarded.entrance.expire()
    await client.is_served()
    clock.now += 300 + LEEWAY
    assert (await client.end()).code == 4005


async def test_a_newer_token_may_end_sooner(guarded: Rig, clock: Clock) -> None:
    client = await guarded.join(f"token={signed(exp=None)}")
    assert (await client.ask("token", token=signed(exp=int(clock.now) + 60)))["ok"] is True
    clock.now += 60 + LEEWAY
    assert (await client.end()).code == 4005


async def test_a_grant_that_ends_during_a_replay_gives_no_event(guarded: Rig, clock: Clock) -> None:
    token = signed(exp=int(clock.now) + 60)
    cursor = (await guarded.join(f"token={token}")).welcome["cursor"]
    guarded.publish(accounts=["alice"])
    guarded.upstream.brokers.may_answer.clear()
    client = await guarded.join(f"token={token}&cursor={cursor},orders:0:40")
    await until(lambda: guarded.upstream.brokers.asked)
    clock.now += 60 + LEEWAY
    guarded.entrance.expire()
    guarded.upstream.brokers.may_answer.set()
    end = await client.end()
    assert (end.code, [frame["op"] for frame in end.frames]) == (4005, ["closing"])


async def test_a_grant_that_ends_before_the_time_of_since_is_found_gives_no_event(
    guarded: Rig, clock: Clock
) -> None:
    guarded.upstream.brokers.may_answer.clear()
    token = signed(exp=int(clock.now) + 60)
    client = await guarded.connect(f"token={token}&since=2026-11-21T09:00:00Z")
    await until(lambda: guarded.upstream.brokers.times)
    clock.now += 60 + LEEWAY
    guarded.entrance.expire()
    guarded.upstream.brokers.may_answer.set()
    end = await client.end()
    assert end.code == 4005
    assert "event" not in {frame["op"] for frame in end.frames}


async def test_with_authentication_off_nothing_ends(open_rig: OpenRig, clock: Clock) -> None:
    rig = await open_rig(wall=clock)
    client = await rig.join("account=alice")
    assert client.welcome["expires"] is None
    clock.now = 1e12
    rig.entrance.expire()
    await client.is_served()


# -- the watch itself ------------------------------------------------------------------------------


def opened(expires: float | None, *, live: bool = True) -> Session:
    session = Session("c", Grant("alice", expires=expires), bytes, None)
    if live:
        session.on(Signal.WELCOMED)
    return session


@given(st.lists(st.none() | st.integers(0, 20)), st.lists(st.integers(0, 30)).map(sorted))
def test_each_is_due_once_at_the_first_look_after_its_end(
    ends: list[int | None], looks: list[int]
) -> None:
    expiries = Expiries(LEEWAY)
    sessions = [opened(end) for end in ends]
    for session in sessions:
        expiries.add(session)
    found: list[Session] = []
    for now in looks:
        due = expiries.due(now)
        for session in due:
            session.on(Signal.HUNG_UP)
        found += due
    latest = max(looks, default=-1)
    expected = [
        s for s in sessions if s.grant.expires is not None and s.grant.expires + 5 <= latest
    ]
    assert set(found) == set(expected)
    assert len(found) == len(expected)
    assert [s.grant.expires for s in found] == sorted(s.grant.expires or 0 for s in found)


def test_one_that_opens_is_due_once_it_is_live() -> None:
    expiries, session = Expiries(LEEWAY), opened(0.0, live=False)
    expiries.add(session)
    assert expiries.due(5.0) == []
    session.on(Signal.WELCOMED)
    assert expiries.due(5.0) == [session]


def test_only_the_newest_end_counts() -> None:
    expiries, session = Expiries(LEEWAY), opened(0.0)
    expiries.add(session)
    session.grant = session.grant._replace(expires=10.0)
    expiries.add(session)
    assert expiries.due(14.9) == []
    assert expiries.due(15.0) == [session]


def test_who_comes_and_goes_leaves_nothing_behind() -> None:
    expiries = Expiries(LEEWAY)
    stays = opened(1e9)
    expiries.add(stays)
    for _ in range(20_000):
        session = opened(1e9)
        expiries.add(session)
        session.on(Signal.LOST)
    assert len(expiries) <= 1100
    assert expiries.due(2e9) == [stays]
