"""Scenario `hostile`: an honest client's worst heartbeat during each attack, and the memory.

Rule: attackers run in processes of their own, so that their work does not delay the honest client.
"""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import statistics
import time
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final

from bridge.bench.load.job import BenchError, Target
from bridge.bench.report import MEMORY_BYTES_METRIC, bridge_version
from bridge.bench.scenarios.attacks import ATTACKS, Attack, encode_request, encode_upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.bench.plan import Plan
    from bridge.bench.stage import Measurement

_HEARTBEAT: Final = encode_request(op="heartbeat", id="bench")
_REPLY: Final = b'"bench"'
_HEARTBEAT_INTERVAL_SECONDS: Final = 0.02
_ANSWER_TIMEOUT_SECONDS: Final = 60.0
_CHUNK_BYTES: Final = 256 * 1024
_MEMORY_INTERVAL_SECONDS: Final = 0.5
_RECONNECT_SECONDS: Final = 0.1
_SETTLE_SECONDS: Final = 1.0


def measure(measurement: Measurement) -> dict[str, Any]:
    """Run all attacks in turn; return the figures of each."""
    plan = measurement.plan
    measurement.bridge_version = bridge_version(measurement.scrape())
    figures: dict[str, Any] = {"at rest": _measure_one(measurement, None)}
    for name, attack in ATTACKS.items():
        measurement.on_progress(f"attack: {name}")
        with _running_attack(plan, attack):
            figures[name] = _measure_one(measurement, attack)
        time.sleep(_SETTLE_SECONDS)
    return figures


def _measure_one(measurement: Measurement, attack: Attack | None) -> dict[str, Any]:
    plan = measurement.plan
    is_over = Event()
    memory_bytes: list[float] = []

    def watch_memory() -> None:
        while not is_over.wait(_MEMORY_INTERVAL_SECONDS):
            with suppress(BenchError):
                memory_bytes.append(measurement.scrape()[MEMORY_BYTES_METRIC])

    watcher = Thread(target=watch_memory)
    watcher.start()
    try:
        waits = _time_heartbeats(plan, plan.seconds)
    finally:
        is_over.set()
        watcher.join()
    return {
        "connections": 0 if attack is None else plan.connections or attack.connections,
        "heartbeats": len(waits),
        "median_ms": round(1000 * statistics.median(waits), 1),
        "worst_ms": round(1000 * max(waits), 1),
        "memory_mib": round(max(memory_bytes, default=0.0) / 2**20, 1),
    }


def _time_heartbeats(plan: Plan, seconds: float) -> list[float]:
    """Return how long each answer took, in seconds.

    Raises:
        BenchError: If the bridge does not answer at all.
    """
    target = plan.targets[0]
    query = {} if plan.token is not None else {"account": f"{plan.account_prefix}honest"}
    waits: list[float] = []
    try:
        with socket.create_connection((target.host, target.port), _ANSWER_TIMEOUT_SECONDS) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(encode_upgrade(target, plan.token, **query))
            _read_until(sock, b'"welcome"')
            ends_at = time.monotonic() + seconds
            while not waits or time.monotonic() < ends_at:
                started = time.monotonic()
                sock.sendall(_HEARTBEAT)
                _read_until(sock, _REPLY)
                waits.append(time.monotonic() - started)
                time.sleep(_HEARTBEAT_INTERVAL_SECONDS)
    except OSError as error:
        raise BenchError(f"the honest client was not served: {error}") from None
    return waits


def _read_until(sock: socket.socket, words: bytes) -> None:
    received = b""
    while words not in received:
        data = sock.recv(_CHUNK_BYTES)
        if not data:
            raise BenchError(f"the honest client was closed on: {received[-200:]!a}")
        received += data


@contextmanager
def _running_attack(plan: Plan, attack: Attack) -> Iterator[None]:
    arguments = (
        plan.targets[0],
        attack,
        plan.connections or attack.connections,
        plan.token,
        plan.account_prefix,
    )
    process = multiprocessing.get_context("spawn").Process(
        target=run_attack, args=arguments, daemon=True
    )
    process.start()
    try:
        time.sleep(_SETTLE_SECONDS)  # its interpreter starts, and its connections open
        yield
    finally:
        process.kill()
        process.join()


class _Attacker:
    """One hostile connection."""

    sock: socket.socket

    def __init__(self, target: Target, attack: Attack, opening: bytes) -> None:
        self._target, self._attack, self._opening = target, attack, opening
        self._chunk = attack.repeated * (1 + _CHUNK_BYTES // max(1, len(attack.repeated)))
        self._pending = memoryview(b"")
        self._is_answered = False
        self.opens_at = 0.0

    def connect(self) -> None:
        """Open the connection; the kernel of a bridge on this machine answers at once."""
        self.sock = socket.create_connection((self._target.host, self._target.port))
        self.sock.setblocking(False)  # noqa: FBT003 - the standard library's own
        self._is_answered = False
        self._pending = memoryview(self._opening)

    @property
    def events(self) -> int:
        """What to wait for."""
        sends = self._pending or (self._is_answered and self._attack.repeated)
        reads = self._attack.reads or not self._is_answered or not sends
        return (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if sends else 0)

    def serve(self, events: int) -> bool:
        """Read and send; return False when the connection has ended."""
        try:
            if events & selectors.EVENT_READ:
                if not self.sock.recv(_CHUNK_BYTES):
                    return False
                if not self._is_answered:
                    self._is_answered = True
                    self._pending = memoryview(self._attack.first)
            if events & selectors.EVENT_WRITE:
                if not self._pending and self._is_answered:
                    self._pending = memoryview(self._chunk)
                self._pending = self._pending[self.sock.send(self._pending) :]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def run_attack(
    target: Target, attack: Attack, connections: int, token: str | None, account_prefix: str
) -> None:
    """Attack until this process is killed; a connection that ended is opened again."""
    with selectors.DefaultSelector() as selector:
        waiting = [
            _Attacker(target, attack, attack.opening(target, token, f"{account_prefix}{number}"))
            for number in range(connections)
        ]
        while True:
            now = time.monotonic()
            for attacker in [each for each in waiting if each.opens_at <= now]:
                waiting.remove(attacker)
                with suppress(OSError):
                    attacker.connect()
                    selector.register(attacker.sock, attacker.events, attacker)
                    continue
                attacker.opens_at = now + _RECONNECT_SECONDS
                waiting.append(attacker)
            for key, events in selector.select(_RECONNECT_SECONDS):
                attacker = key.data
                if attacker.serve(events):
                    selector.modify(attacker.sock, attacker.events, attacker)
                else:
                    selector.unregister(attacker.sock)
                    attacker.sock.close()
                    attacker.opens_at = now + _RECONNECT_SECONDS
                    waiting.append(attacker)
