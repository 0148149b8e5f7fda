"""A backend in Java with the defaults of `java.net.http`, which asks for h2c at first."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.cli.command_process import CommandProcess
from tests.cli.conftest import next_frame, running_dev
from tests.harness.ports import free_ports
from tests.journey.compose_stack import BRIDGES, NginxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import DevServer

pytestmark = pytest.mark.java

SOURCE = Path(__file__).with_name("java") / "Backend.java"
TOKEN = "an-admin-token-of-a-java-backend"
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-d", folder, SOURCE], check=True, timeout=TIMEOUT_SECONDS)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("java-dev")
    settings = {"PORT": "0", "ADMIN_TOKENS": json.dumps([TOKEN])}
    with CommandProcess(folder, "dev", **settings) as command:
        yield running_dev(command)


async def ask(classes: Path, url: str, *requests: str) -> list[tuple[int, str]]:
    """Send requests from Java, each a method with a path, and a body; return the answers."""
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(classes), "Backend", url, TOKEN]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, *requests],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    return [(int(status), body) for status, _, body in lines]


async def check_backend(
    classes: Path, url: str, dev: DevServer, account: str, second: str = "POST /v1/events"
) -> None:
    """Publish, join and revoke at `url`; a client of `dev` sees what each did, and no more."""
    event = {"topic": "demo", "accounts": [account], "type": "x", "data": "y" * 10_000}
    async with dev.client(f"account={account}") as client:
        await next_frame(client, "welcome")
        answers = await ask(
            classes,
            url,
            *("POST /v1/events", json.dumps(event)),
            *(second, json.dumps(event)),
            *(f"PUT /v1/rooms/java/accounts/{account}", "{}"),
            *("POST /v1/accounts/bob/revoke", '{"before": "2020-01-01T00:00:00Z"}'),
            # Without its body this would revoke everything, with 202.
            *("POST /v1/accounts/bob/revoke", '{"before": "yesterday"}'),
            *("POST /v1/events", "no JSON"),
        )
        assert [status for status, _ in answers] == [202, 202, 202, 202, 422, 400], answers
        for _ in range(2):
            assert (await next_frame(client, "event"))["data"] == event["data"]
        assert "java" in (await next_frame(client, "rooms"))["joined"]


async def test_a_java_backend_publishes_joins_and_revokes(classes, served, account):
    await check_backend(classes, served.url, served, account, "POST chunked:/v1/events")


@pytest.mark.nginx
async def test_a_java_backend_works_through_nginx(classes, served, account, tmp_path):
    port = urlsplit(served.url).port
    (unused,) = free_ports(1)
    ports = dict(zip(BRIDGES, (port, unused), strict=True))
    upstreams = {f"server {name}:8080": f"server 127.0.0.1:{ports[name]}" for name in BRIDGES}
    async with contextlib.AsyncExitStack() as stack:
        nginx = await stack.enter_async_context(NginxProcess(tmp_path, upstreams))
        await check_backend(classes, f"http://{nginx.address}", served, account)
