"""The end of a grant: obeyed while connected, to the moment, and nothing is handed out after it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import Session, SessionTrigger
from bridge.web.connections.admission import ExpiryTimers
from tests.web.in_process_bridge import wait_until
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

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
async def guarded(open_rig: OpenBridge, clock: Clock) -> InProcessBridge:
    return await open_rig(gate=shared_secret_authenticator(), wall=clock)


async def test_a_grant_that_ends_closes_with_4005(guarded: InProcessBridge, clock: Clock) -> None:
    client = await guarded.connect_welcomed(f"token={sign_token(exp=int(clock.now) + 60)}")
    stays = await guarded.connect_welcomed(f"token={sign_token(exp=int(clock.now) + 61)}")
    for_ever = await guarded.connect_welcomed(f"token={sign_token(exp=None)}")
    clock.now += 60 + LEEWAY
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4005,
        4005,
        True,
    )
    for other in (stays, for_ever):
        await other.check_responsive()
    assert guarded.counters.closes_by_code[4005] == 1


async def test_until_the_leeway_is_over_events_arrive(
    guarded: InProcessBridge, clock: Clock
) -> None:
    client = await guarded.connect_welcomed(f"token={sign_token(exp=int(clock.now) + 60)}")
    clock.now += 60 + LEEWAY - 0.001
    guarded.publish(accounts=["alice"], data="in time")
    assert (await client.expect("event"))["data"] == "in time"
    clock.now += 0.001
    guarded.publish(accounts=["alice"], data="too late")
    end = await client.wait_closed()
    assert end.code == 4005
    assert [frame["op"] for frame in end.frames] == ["closing"]


async def test_what_was_queued_is_discarded(guarded: InProcessBridge, clock: Clock) -> None:
    raw = await guarded.open_websocket(
        f"token={sign_token(exp=int(clock.now) + 60)}", receive_bytes=4096
    )
    session = guarded.hub.subscriptions.by_account["alice"].copy().pop()
    number = 0
    while not session.outbox.pending_bytes:  # until neither the kernel nor the transport takes more
        guarded.publish(accounts=["alice"], data="x" * 50_000, id=str(number))
        number += 1
    clock.now += 60 + LEEWAY
    guarded.expiry.close_expired()
    code, last = await raw.read_until_close()
    assert code == 4005
    assert last is not None
    assert (last["op"], last["cursor"]) == ("closing", None), "no cursor would cover what was lost"
    assert guarded.hub.events_delivered == number


async def test_a_newer_token_moves_the_end(guarded: InProcessBridge, clock: Clock) -> None:
    client = await guarded.connect_welcomed(f"token={sign_token(exp=int(clock.now) + 60)}")
    assert (await client.request("token", token=sign_token(exp=int(clock.now) + 600)))["ok"] is True
    clock.now += 300
    guarded.expiry.close_expired()
    await client.check_responsive()
    clock.now += 300 + LEEWAY
    assert (await client.wait_closed()).code == 4005


async def test_a_newer_token_may_end_sooner(guarded: InProcessBridge, clock: Clock) -> None:
    client = await guarded.connect_welcomed(f"token={sign_token(exp=None)}")
    assert (await client.request("token", token=sign_token(exp=int(clock.now) + 60)))["ok"] is True
    clock.now += 60 + LEEWAY
    assert (await client.wait_closed()).code == 4005


async def test_a_grant_that_ends_during_a_replay_gives_no_event(
    guarded: InProcessBridge, clock: Clock
) -> None:
    token = sign_token(exp=int(clock.now) + 60)
    cursor = (await guarded.connect_welcomed(f"token={token}")).welcome["cursor"]
    guarded.publish(accounts=["alice"])
    guarded.upstream.brokers.may_respond.clear()
    client = await guarded.connect_welcomed(f"token={token}&cursor={cursor},orders:0:40")
    await wait_until(lambda: guarded.upstream.brokers.bounds_requests)
    clock.now += 60 + LEEWAY
    guarded.expiry.close_expired()
    guarded.upstream.brokers.may_respond.set()
    end = await client.wait_closed()
    assert (end.code, [frame["op"] for frame in end.frames]) == (4005, ["closing"])


async def test_a_grant_that_ends_before_the_time_of_since_is_found_gives_no_event(
    guarded: InProcessBridge, clock: Clock
) -> None:
    guarded.upstream.brokers.may_respond.clear()
    token = sign_token(exp=int(clock.now) + 60)
    client = await guarded.connect(f"token={token}&since=2026-11-21T09:00:00Z")
    await wait_until(lambda: guarded.upstream.brokers.since_requests)
    clock.now += 60 + LEEWAY
    guarded.expiry.close_expired()
    guarded.upstream.brokers.may_respond.set()
    end = await client.wait_closed()
    assert end.code == 4005
    assert "event" not in {frame["op"] for frame in end.frames}


async def test_with_authentication_off_nothing_ends(open_rig: OpenBridge, clock: Clock) -> None:
    rig = await open_rig(wall=clock)
    client = await rig.connect_welcomed("account=alice")
    assert client.welcome["expires"] is None
    clock.now = 1e12
    rig.expiry.close_expired()
    await client.check_responsive()


# -- the watch itself ------------------------------------------------------------------------------


def opened(expires: float | None, *, live: bool = True) -> Session:
    session = Session("c", Permissions("alice", expires_at=expires), bytes)
    if live:
        session.transition(SessionTrigger.WELCOMED)
    return session


@given(st.lists(st.none() | st.integers(0, 20)), st.lists(st.integers(0, 30)).map(sorted))
def test_each_is_due_once_at_the_first_look_after_its_end(
    ends: list[int | None], looks: list[int]
) -> None:
    expiries = ExpiryTimers(cast("Any", None), LEEWAY)
    sessions = [opened(end) for end in ends]
    for session in sessions:
        expiries.add(session)
    found: list[Session] = []
    for now in looks:
        due = expiries.pop_expired(now)
        for session in due:
            session.transition(SessionTrigger.CLOSED_BY_SERVER)
        found += due
    latest = max(looks, default=-1)
    expected = [
        s
        for s in sessions
        if s.permissions.expires_at is not None and s.permissions.expires_at + 5 <= latest
    ]
    assert set(found) == set(expected)
    assert len(found) == len(expected)
    assert [s.permissions.expires_at for s in found] == sorted(
        s.permissions.expires_at or 0 for s in found
    )


def test_one_that_opens_is_due_once_it_is_live() -> None:
    expiries, session = ExpiryTimers(cast("Any", None), LEEWAY), opened(0.0, live=False)
    expiries.add(session)
    assert expiries.pop_expired(5.0) == []
    session.transition(SessionTrigger.WELCOMED)
    assert expiries.pop_expired(5.0) == [session]


def test_only_the_newest_end_counts() -> None:
    expiries, session = ExpiryTimers(cast("Any", None), LEEWAY), opened(0.0)
    expiries.add(session)
    session.permissions = session.permissions._replace(expires_at=10.0)
    expiries.add(session)
    assert expiries.pop_expired(14.9) == []
    assert expiries.pop_expired(15.0) == [session]


def test_who_comes_and_goes_leaves_nothing_behind() -> None:
    expiries = ExpiryTimers(cast("Any", None), LEEWAY)
    stays = opened(1e9)
    expiries.add(stays)
    for _ in range(20_000):
        session = opened(1e9)
        expiries.add(session)
        session.transition(SessionTrigger.DISCONNECTED)
    assert len(expiries) <= 1100
    assert expiries.pop_expired(2e9) == [stays]
