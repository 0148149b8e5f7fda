"""A server with a bridge's `/v1` but without Kafka, for the operator commands."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from bridge.web.app import create_app
from bridge.web.auth.origins import OriginPolicy
from bridge.web.endpoints.static import console_router
from tests.cli.command_process import wait_until
from tests.web.directory_api import DirectoryBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "an-admin-token-of-the-tests"


class AdminApiServer(NamedTuple):
    """Its port, and the directory that it serves."""

    backend: DirectoryBackend
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving_admin_api(*, page_token: str | None = None) -> Iterator[AdminApiServer]:
    """Serve; `page_token` is the token that the page hands out."""
    backend = DirectoryBackend()
    routers = [
        *backend.routers(TOKEN),
        console_router(OriginPolicy(), by_account=True, admin_token=page_token),
    ]
    app = create_app(OriginPolicy(), routers, {})
    config = uvicorn.Config(app, lifespan="off", log_config=None, http="httptools")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, "the server")
            yield AdminApiServer(backend, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def serving_response(response: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Send the raw `response` to every request; yield the URL and the received requests."""
    requests: list[bytes] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client:
                requests.append(client.recv(65_536))
                client.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            stop.set()
            thread.join()
