"""Free ports on loopback for brokers that die and come back.

The rule kept here: a port lies below the ephemeral range, because a client that keeps dialling a
dead broker would sooner or later be given that very port as its own, and the broker could not
come back to it.
"""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from pathlib import Path

HOST = "127.0.0.1"
LOWEST_PORT = 10_240


def free_ports(count: int) -> list[int]:
    """As many different ports as asked for, each free at this moment."""
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    candidates = list(range(LOWEST_PORT, first_ephemeral))
    random.shuffle(candidates)  # two test runs on one machine should rarely meet
    found: list[int] = []
    with ExitStack() as held:
        for port in candidates:
            if len(found) == count:
                return found
            probe = held.enter_context(socket.socket())
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"no {count} free ports between {LOWEST_PORT} and {first_ephemeral}")
