"""`bench hostile`: what the attackers send, and what is measured of an honest client meanwhile."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from bridge.bench.load.job import BenchError, Target
from bridge.bench.plan import Plan
from bridge.bench.report import format_result, has_delivery_errors
from bridge.bench.scenarios import hostile
from bridge.bench.scenarios.attacks import ATTACKS, encode_frame
from tests.web.in_process_bridge import InProcessBridge, running_bridge, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def rig() -> AsyncIterator[InProcessBridge]:
    # Heartbeats find out that a client has gone which was not read from.
    async with running_bridge(heartbeat_seconds=0.2) as rig:
        yield rig


def plan(rig: InProcessBridge) -> Plan:
    return Plan("hostile", (Target("127.0.0.1", rig.port),), (), {}, connections=0, seconds=0.1)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_an_attackers_frame_is_a_frame_unless_it_is_meant_not_to_be(size):
    reader = StreamReader()
    reader.feed_data(encode_frame(0x81, b"x" * size))
    parsing = Frame.parse(reader.read_exact, mask=True)
    with pytest.raises(StopIteration) as finished:
        next(parsing)
    assert finished.value.value == Frame(Opcode.TEXT, b"x" * size)


async def test_the_honest_client_times_its_heartbeats(rig):
    waits = await asyncio.to_thread(hostile._time_heartbeats, plan(rig), 0.1)
    assert len(waits) > 1
    assert all(0 < wait < 10 for wait in waits)


def test_a_bridge_that_does_not_answer_the_honest_client_is_an_error():
    nobody = Plan("hostile", (Target("127.0.0.1", 1),), (), {})
    with pytest.raises(BenchError, match="honest client"):
        hostile._time_heartbeats(nobody, 0.1)


def serve_once(attacker: Any) -> None:
    """Connect, and attack for a moment, or until it is closed on."""
    attacker.connect()
    with selectors.DefaultSelector() as selector, attacker.sock:
        selector.register(attacker.sock, attacker.events)
        for _ in range(10):
            for _, events in selector.select(0.01 if attacker._is_answered else 5.0):
                if not attacker.serve(events):
                    return
                selector.modify(attacker.sock, attacker.events)


@pytest.mark.parametrize("name", ATTACKS)
async def test_the_bridge_lives_through_each_attack(rig, name):
    attack = ATTACKS[name]
    target = plan(rig).targets[0]
    attacker = hostile._Attacker(target, attack, attack.opening(target, None, "bench-1"))
    await asyncio.wait_for(asyncio.to_thread(serve_once, attacker), 20.0)
    waits = await asyncio.to_thread(hostile._time_heartbeats, plan(rig), 0.0)
    assert waits
    await wait_until(lambda: len(rig.pool) == 0)


def test_figures_are_printed_a_line_for_each_attack():
    figures = {"at rest": {"worst_ms": 1.0}, "pings": {"worst_ms": 4.5}}
    result: dict[str, Any] = {
        "machine": dict.fromkeys(("cpu", "usable_cores", "cores", "kernel", "python", "date"))
    }
    result |= {"scenario": "hostile", "version": "1", "plan": {}, "figures": figures, "remarks": []}
    assert [*format_result(result)][2:] == [
        "at rest                           worst_ms 1.0",
        "pings                             worst_ms 4.5",
    ]
    assert not has_delivery_errors(figures)
