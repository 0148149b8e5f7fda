"""Runs one instance in the foreground: what `dev` and `serve` share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import socket
from typing import TYPE_CHECKING, Any

from bridge.app.instance import Instance
from bridge.cli.output import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import Access

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_THRESHOLD_BYTES = 64 * 1024
# New objects before the youngest, collections of these before the older, and of those before all
# are looked through. A batch of records is more than Python's 700 and is gone again soon.
_THRESHOLDS = (50_000, 20, 100)


def settle() -> None:
    """Keep what is loaded out of the collector's way, and large pieces out of the heap.

    glibc raises its threshold for giving pieces back by itself as soon as larger ones are freed;
    then what the journal lets go of stays with the process, as much again as it holds. Where there
    is no `mallopt`, nothing happens.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)


_BACKLOG = 4096


def admin_listener(settings: Settings) -> socket.socket | None:
    """Return a socket for what is for operators only, where they have a port of their own."""
    if settings.admin_port is None:
        return None
    return listener(settings.host, settings.admin_port, "BRIDGE_HOST, BRIDGE_ADMIN_PORT")


def listener(host: str, port: int, names: str = "BRIDGE_HOST, BRIDGE_PORT") -> socket.socket:
    """Return a socket that listens on `host` and `port`; exit with a sentence where it can not.

    `names` are the settings that say where.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        refuse(f"can not listen on {host} port {port}: {error.strerror}; set {names}")
    return listening


async def run_instance(
    settings: Settings,
    access: Access,
    listening: socket.socket,
    started: Callable[[], None],
    **more: Any,  # noqa: ANN401 - `Instance`'s own options
) -> None:
    """Run an instance until a signal."""
    instance = Instance(settings, access=access, **more)
    settle()
    await instance.run(listening, started=started)
