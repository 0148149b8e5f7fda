"""Runs one instance in the foreground: what `dev` and `serve` share."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import socket
from typing import TYPE_CHECKING, Any

from bridge.app.instance import Instance
from bridge.cli.output import exit_with_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_MMAP_THRESHOLD_BYTES = 64 * 1024
# New objects before the youngest, collections of these before the older, and of those before all
# are looked through. A batch of records is more than Python's 700 and is gone again soon.
_GC_THRESHOLDS = (50_000, 20, 100)


def tune_memory() -> None:
    """Keep what is loaded out of the collector's way, and large pieces out of the heap.

    glibc raises its threshold for giving pieces back by itself as soon as larger ones are freed;
    then what the journal lets go of stays with the process, as much again as it holds. Where there
    is no `mallopt`, nothing happens.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


_BACKLOG = 4096


def open_admin_listener(settings: Settings) -> socket.socket | None:
    """Return a socket for what is for operators only, where they have a port of their own."""
    if settings.admin_port is None:
        return None
    return open_listener(settings.host, settings.admin_port, "BRIDGE_HOST, BRIDGE_ADMIN_PORT")


def open_listener(
    host: str, port: int, setting_names: str = "BRIDGE_HOST, BRIDGE_PORT"
) -> socket.socket:
    """Return a socket that listens on `host` and `port`; exit with a sentence where it can not.

    `setting_names` are the settings that say where.
    """
    try:
        family, socket_type, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener_socket = socket.socket(family, socket_type, protocol)
        listener_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener_socket.bind(address)
        listener_socket.listen(_BACKLOG)
    except OSError as error:
        exit_with_error(
            f"can not listen on {host} port {port}: {error.strerror}; set {setting_names}"
        )
    return listener_socket


async def run_instance(
    settings: Settings,
    kafka_access: KafkaAccess,
    listener_socket: socket.socket,
    on_ready: Callable[[], None],
    **instance_options: Any,  # noqa: ANN401 - `Instance`'s own options
) -> None:
    """Run an instance until a signal."""
    instance = Instance(settings, access=kafka_access, **instance_options)
    tune_memory()
    await instance.run(listener_socket, on_ready=on_ready)
