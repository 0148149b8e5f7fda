"""Clients of a swarm against a sender in this process: in, told, cut, refused and back again."""

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

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
WELCOME = encode_text_frame(b'{"op":"welcome","cursor":"c1"}')


class Play:
    """A server, its ends of connections, and the swarm that talks to it."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.ends: list[socket.socket] = []
        self.swarms: list[ClientPool] = []

    def swarm(self, count: int = 2, *, own: bool = False) -> ClientPool:
        target = Target("127.0.0.1", self.listening.getsockname()[1])
        self.swarms.append(
            ClientPool(LoadJob(RUN, (target,), count, account_prefix="", has_private_events=own))
        )
        return self.swarms[-1]

    def inside(self, swarm: ClientPool) -> list[socket.socket]:
        """Let everybody in; return the server's ends, by number."""
        ends: list[socket.socket] = []
        count = len(swarm.clients)
        thread = threading.Thread(
            target=lambda: ends.extend(_accept_clients(self.listening, count))
        )
        thread.start()
        swarm.connect_all()
        until(swarm, lambda: swarm.status()["open"] == count)
        thread.join()
        self.ends += ends
        return ends

    def asked(self, swarm: ClientPool) -> tuple[socket.socket, bytes]:
        """Accept one client, which has said what it wants."""
        swarm.poll(0)
        end, _ = self.listening.accept()
        self.ends.append(end)
        swarm.poll(0.1)
        return end, end.recv(4096)

    def close(self) -> None:
        for swarm in self.swarms:
            swarm.disconnect_all()
            swarm.epoll.close()
        for end in self.ends:
            end.close()
        self.listening.close()


@pytest.fixture
def play() -> Iterator[Play]:
    playing = Play(socket.create_server(("127.0.0.1", 0)))
    yield playing
    playing.close()


def until(swarm: ClientPool, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        swarm.poll(0.01)


def test_a_room_is_counted_and_judged_for_everybody(play: Play):
    clients = play.swarm()
    first, second = play.inside(clients)
    for numbers in ([(0, 0), (0, 1)], [(0, 2)], [(0, 4)]):
        for end in (first, second):
            end.sendall(event_frames(numbers))
        clients.poll(0.1)
    until(clients, lambda: clients.received_events == 8)
    told = clients.check_delivery({0: 5})
    assert told["delivery_errors"] == {"lost": 2, "duplicates": 0, "disorder": 0}
    assert sum(n for at, n in told["histogram"].items() if at != "max_value") == 8


def test_each_has_its_own_lane_where_they_have(play: Play):
    clients = play.swarm(own=True)
    for lane, end in enumerate(play.inside(clients)):
        end.sendall(event_frames([(lane, 0), (lane, 1), (lane, 1)]))
    until(clients, lambda: clients.received_events == 6)
    verdict = clients.check_delivery({0: 2, 1: 2})["delivery_errors"]
    assert verdict == {"lost": 0, "duplicates": 2, "disorder": 0}


def test_a_ping_is_answered_though_a_frame_is_cut_in_the_middle(play: Play):
    clients = play.swarm(1)
    (end,) = play.inside(clients)
    data = event_frame(0, 0) + encode_server_frame(PING, b"ab") + event_frame(0, 1)
    end.sendall(data[:-3])
    until(clients, lambda: clients.received_events == 1)
    end.sendall(data[-3:])
    until(clients, lambda: clients.received_events == 2)
    assert end.recv(100) == b"\x8a\x82\0\0\0\0ab"


def test_who_is_told_to_come_later_does_and_who_leaves_returns_with_its_cursor(play: Play):
    clients = play.swarm(1)
    clients.connect_all()
    end, _ = play.asked(clients)
    closing = {"op": "closing", "code": 4006, "reason": "later", "retry_after": 0.01}
    end.sendall(
        ANSWER
        + encode_text_frame(json.dumps(closing).encode())
        + encode_server_frame(CLOSE, b"\x0f\xa6")
    )
    until(clients, lambda: clients.counters["retries"])
    (end,) = play.inside(clients)
    clients.disconnect_all()
    clients.connect_all(resuming=True)
    end, request = play.asked(clients)
    assert b"cursor=c" in request
    end.sendall(ANSWER + WELCOME + encode_text_frame(b'{"op":"live","cursor":"c3"}'))
    until(clients, lambda: clients.status()["live"] == 1)
    end.close()
    until(clients, lambda: clients.status()["closed"] == 1)
    assert clients.status()["close_codes"] == {"1006": 1}
    assert clients.check_delivery({0: 7})["delivery_errors"]["lost"] == 0  # it was cut


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\nnot here", "403 Forbidden not here"),
        (ANSWER + encode_server_frame(CLOSE, b"\x11\x95no such topic"), "4501 no such topic"),
    ],
)
def test_who_is_refused_says_why(play: Play, answer, words):
    clients = play.swarm(1)
    clients.connect_all()
    end, _ = play.asked(clients)
    end.sendall(answer)
    until(clients, lambda: clients.refusal_reason)
    assert words in str(clients.refusal_reason)


def test_nobody_listening_is_said_with_the_option(play: Play):
    clients = play.swarm(1)
    play.listening.close()
    clients.connect_all()
    until(clients, lambda: clients.refusal_reason)
    assert "--url" in str(clients.refusal_reason)
