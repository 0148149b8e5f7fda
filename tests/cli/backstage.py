"""A bridge's `/v1` on a port, as the commands for operators find it: of a process of no Kafka."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import uvicorn

from bridge.web.app import site
from bridge.web.auth.origins import Doors
from bridge.web.endpoints.static import page
from tests.cli.command import until
from tests.web.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "an-admin-token"


class Backstage(NamedTuple):
    """Where it listens, and whom it knows."""

    registry: Registry
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def listening(*, hands_out: str | None = None) -> Iterator[Backstage]:
    """Serve; `hands_out` is a token that the page gives to whoever opens it."""
    registry = Registry()
    routers = [*registry.routers(TOKEN), page(Doors(), by_account=True, admin_token=hands_out)]
    app = site(Doors(), routers, {})
    config = uvicorn.Config(app, lifespan="off", log_config=None, http="httptools")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started, "the server")
            yield Backstage(registry, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Give `answer`, as it stands, to every request; yield the address and the requests."""
    asked: list[bytes] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            with client:
                asked.append(client.recv(65_536))
                client.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            stop.set()
            thread.join()
