"""Runs one instance in the foreground, for the commands `dev` and `serve`."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import socket
from typing import TYPE_CHECKING, Any

from bridge.app.instance import Instance
from bridge.cli.output import exit_with_error
from bridge.coordination.topics import CannotCreateTopics
from bridge.kafka.client.aiokafka_internals import UnsupportedAiokafka
from bridge.web.transport.uvicorn_internals import UnsupportedUvicorn

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_MMAP_THRESHOLD_BYTES = 64 * 1024
# Thresholds of GC generations 0, 1 and 2. A batch of records has more objects than Python's
# default of 700, and reference counting frees them soon.
_GC_THRESHOLDS = (50_000, 20, 100)
_BACKLOG = 4096


def tune_memory() -> None:
    """Exclude loaded modules from garbage collection, and allocate large blocks with mmap.

    glibc raises its mmap threshold after it frees a larger block. Then the process keeps memory
    that the journal has freed, and uses twice the journal's size. `mallopt` fixes the threshold.
    Where libc has no `mallopt`, only the collector is tuned.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def open_admin_listener(settings: Settings) -> socket.socket | None:
    """Return the socket of the admin port; None if it is not configured."""
    if settings.admin_port is None:
        return None
    host = settings.admin_host or settings.host
    return open_listener(host, settings.admin_port, "BRIDGE_ADMIN_HOST, BRIDGE_ADMIN_PORT")


def open_listener(
    host: str, port: int, setting_names: str = "BRIDGE_HOST, BRIDGE_PORT"
) -> socket.socket:
    """Return a listening socket; exit with an error message if the address cannot be used.

    `setting_names` are the settings that the message advises to change.
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
            f"cannot listen on {host} port {port}: {error.strerror}; set {setting_names}"
        )
    return listener_socket


async def run_instance(
    settings: Settings,
    kafka_access: KafkaAccess,
    listener_socket: socket.socket,
    on_ready: Callable[[], None],
    **instance_options: Any,  # noqa: ANN401 - options of Instance
) -> None:
    """Run an instance until SIGTERM or SIGINT; `on_ready` is called once it accepts clients."""
    try:
        instance = Instance(settings, access=kafka_access, **instance_options)
    except (UnsupportedAiokafka, UnsupportedUvicorn) as error:
        exit_with_error(str(error))
    tune_memory()
    try:
        await instance.run(listener_socket, on_ready=on_ready)
    except CannotCreateTopics as error:
        exit_with_error(str(error))
