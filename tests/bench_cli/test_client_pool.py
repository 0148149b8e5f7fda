"""A client pool against a server in this process: delivery, pings, retries, resumes, refusals."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bridge.bench.load.client_pool import ClientPool
from bridge.bench.load.job import LoadJob, Target
from bridge.bench.load.stream_reader import CLOSE, PING, encode_server_frame, encode_text_frame
from bridge.bench.self_test import _accept_clients
from tests.bench_cli.frame_bytes import RUN, event_frame, event_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
WELCOME = encode_text_frame(b'{"op":"welcome","cursor":"c1"}')


class PoolHarness:
    """A listening socket, its accepted connections, and the pools under test."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.ends: list[socket.socket] = []
        self.pools: list[ClientPool] = []

    def create_pool(self, count: int = 2, *, private: bool = False) -> ClientPool:
        target = Target("127.0.0.1", self.listening.getsockname()[1])
        self.pools.append(
            ClientPool(
                LoadJob(RUN, (target,), count, account_prefix="", has_private_events=private)
            )
        )
        return self.pools[-1]

    def connect_clients(self, pool: ClientPool) -> list[socket.socket]:
        """Connect all clients; return the server's sockets by client number."""
        ends: list[socket.socket] = []
        count = len(pool.clients)
        thread = threading.Thread(
            target=lambda: ends.extend(_accept_clients(self.listening, count))
        )
        thread.start()
        pool.connect_all()
        until(pool, lambda: pool.status()["open"] == count)
        thread.join()
        self.ends += ends
        return ends

    def accept_request(self, pool: ClientPool) -> tuple[socket.socket, bytes]:
        """Accept one client; return the server's socket and the upgrade request."""
        pool.poll(0)
        end, _ = self.listening.accept()
        self.ends.append(end)
        pool.poll(0.1)
        return end, end.recv(4096)

    def close(self) -> None:
        for pool in self.pools:
            pool.disconnect_all()
            pool.epoll.close()
        for end in self.ends:
            end.close()
        self.listening.close()


@pytest.fixture
def harness() -> Iterator[PoolHarness]:
    harness = PoolHarness(socket.create_server(("127.0.0.1", 0)))
    yield harness
    harness.close()


def until(pool: ClientPool, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        pool.poll(0.01)


def test_shared_events_are_checked_for_every_client(harness: PoolHarness):
    clients = harness.create_pool()
    first, second = harness.connect_clients(clients)
    for numbers in ([(0, 0), (0, 1)], [(0, 2)], [(0, 4)]):
        for end in (first, second):
            end.sendall(event_frames(numbers))
        clients.poll(0.1)
    until(clients, lambda: clients.received_events == 8)
    result = clients.check_delivery({0: 5})
    assert result["delivery_errors"] == {"lost": 2, "duplicates": 0, "disorder": 0}
    assert sum(n for at, n in result["histogram"].items() if at != "max_value") == 8


def test_private_events_are_checked_by_sequence(harness: PoolHarness):
    clients = harness.create_pool(private=True)
    for lane, end in enumerate(harness.connect_clients(clients)):
        end.sendall(event_frames([(lane, 0), (lane, 1), (lane, 1)]))
    until(clients, lambda: clients.received_events == 6)
    errors = clients.check_delivery({0: 2, 1: 2})["delivery_errors"]
    assert errors == {"lost": 0, "duplicates": 2, "disorder": 0}


def test_ping_is_answered_inside_a_split_read(harness: PoolHarness):
    clients = harness.create_pool(1)
    (end,) = harness.connect_clients(clients)
    data = event_frame(0, 0) + encode_server_frame(PING, b"ab") + event_frame(0, 1)
    end.sendall(data[:-3])
    until(clients, lambda: clients.received_events == 1)
    end.sendall(data[-3:])
    until(clients, lambda: clients.received_events == 2)
    assert end.recv(100) == b"\x8a\x82\0\0\0\0ab"


def test_rejected_clients_retry_and_resuming_clients_send_their_cursor(harness: PoolHarness):
    clients = harness.create_pool(1)
    clients.connect_all()
    end, _ = harness.accept_request(clients)
    closing = {"op": "closing", "code": 4006, "reason": "later", "retry_after": 0.01}
    end.sendall(
        RESPONSE
        + encode_text_frame(json.dumps(closing).encode())
        + encode_server_frame(CLOSE, b"\x0f\xa6")
    )
    until(clients, lambda: clients.counters["retries"])
    (end,) = harness.connect_clients(clients)
    clients.disconnect_all()
    clients.connect_all(resuming=True)
    end, request = harness.accept_request(clients)
    assert b"cursor=c" in request
    end.sendall(RESPONSE + WELCOME + encode_text_frame(b'{"op":"live","cursor":"c3"}'))
    until(clients, lambda: clients.status()["live"] == 1)
    end.close()
    until(clients, lambda: clients.status()["closed"] == 1)
    assert clients.status()["close_codes"] == {"1006": 1}
    assert clients.check_delivery({0: 7})["delivery_errors"]["lost"] == 0  # it was cut


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\nnot here", "403 Forbidden not here"),
        (RESPONSE + encode_server_frame(CLOSE, b"\x11\x95no such topic"), "4501 no such topic"),
    ],
)
def test_refusal_has_the_reason(harness: PoolHarness, response, words):
    clients = harness.create_pool(1)
    clients.connect_all()
    end, _ = harness.accept_request(clients)
    end.sendall(response)
    until(clients, lambda: clients.refusal_reason)
    assert words in str(clients.refusal_reason)


def test_refused_connect_names_the_option(harness: PoolHarness):
    clients = harness.create_pool(1)
    harness.listening.close()
    clients.connect_all()
    until(clients, lambda: clients.refusal_reason)
    assert "--url" in str(clients.refusal_reason)
