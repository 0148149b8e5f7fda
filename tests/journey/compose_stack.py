"""What `compose/` says, read by the tests, and its nginx as a process of this machine.

The rule kept here: what is tested are the very files that people start. Only addresses differ,
because here all is one host: each is replaced once, as `host:port`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import yaml

from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = Path(__file__).parents[2]
COMPOSE_FOLDER: Final = ROOT / "compose"
BRIDGES: Final = ("bridge-1", "bridge-2")
TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.02


def services() -> dict[str, dict[str, Any]]:
    """Return the services of `compose.yaml`, by name."""
    document = yaml.safe_load((COMPOSE_FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    found: dict[str, dict[str, Any]] = document["services"]
    return found


def bridge_settings(service: str) -> dict[str, str]:
    """Return what a service's environment sets of `BRIDGE_*`."""
    environment: dict[str, str] = services()[service].get("environment", {})
    return {name: value for name, value in environment.items() if name.startswith("BRIDGE_")}


def signed_token(*arguments: str) -> str:
    """Return what `compose/sign.py` prints, with the secret of `compose.yaml`."""
    command = [sys.executable, str(COMPOSE_FOLDER / "sign.py"), *arguments]
    environment = {**os.environ, **bridge_settings("producer")}
    done = subprocess.run(
        command,
        env=environment,
        check=True,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        text=True,
    )
    return done.stdout.strip()


class NginxProcess:
    """nginx with `compose/nginx.conf`, started as `compose.yaml` starts it.

    `upstreams` are the addresses that its upstreams have here, by the ones in the file.
    """

    def __init__(self, folder: Path, upstreams: Mapping[str, str]) -> None:
        (self.port,) = free_ports(1)
        self._folder = folder
        self._log = folder / "nginx.log"
        text = (COMPOSE_FOLDER / "nginx.conf").read_text(encoding="utf-8")
        for old, new in {"listen 8080;": f"listen {self.address};", **upstreams}.items():
            assert text.count(old) == 1, f"nginx.conf has {old!r} not once"
            text = text.replace(old, new)
        (folder / "nginx.conf").write_text(text, encoding="utf-8")
        local_paths = {"/tmp/": f"{folder}/", "/etc/nginx/nginx.conf": str(folder / "nginx.conf")}
        self._command = [local_paths.get(word, word) for word in services()["nginx"]["entrypoint"]]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        self._process = self._start()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await self._is_listening():
                assert self._process.poll() is None, self.read_log()
                await asyncio.sleep(POLL_SECONDS)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, TIMEOUT_SECONDS)

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def read_log(self) -> str:
        """Return what it has written so far, of requests and of its troubles."""
        return self._log.read_text(errors="replace")

    def check_config(self) -> str:
        """Return what `nginx -t` says of the file."""
        done = subprocess.run(
            [*self._command, "-t"],
            capture_output=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    async def _is_listening(self) -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, self.port)
            writer.close()
            return True
        return False
