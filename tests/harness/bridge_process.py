"""A bridge as operators run it: `serve`, a process of its own, that a test may end or kill.

The rule kept here: it is told by settings and known by its ports, its exit code and its lines.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.05


class BridgeProcess:
    """`push-bridge serve`. `settings` are more of `BRIDGE_*`, without that prefix."""

    def __init__(
        self, instance: str, topics: Iterable[Any], bootstrap: str, **settings: str
    ) -> None:
        (self.port,) = free_ports(1)
        self.instance = instance
        all_settings = {
            "HOST": HOST,
            "PORT": str(self.port),
            "INSTANCE": instance,
            "TOPICS": json.dumps(list(topics)),
            "KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "AUTH__MODE": "none",
            "DRAIN_SECONDS": "1",
            **settings,
        }
        inherited = {k: v for k, v in os.environ.items() if not k.upper().startswith("BRIDGE_")}
        self._environment = {
            **inherited,
            **{f"BRIDGE_{name}": value for name, value in all_settings.items()},
        }
        self._folder = tempfile.TemporaryDirectory(prefix="push-bridge-serve-")
        self._log = Path(self._folder.name) / "stderr"
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            await self.wait_exit()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/ws"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def start(self, **environment: str) -> None:
        """Start it, or start it again after its end: on the same port.

        `environment` is for this time only.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", "serve"],
                cwd=self._folder.name,  # there is no `.env`
                env={**self._environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stderr(self) -> str:
        """What it has printed so far; it has nothing to say on stdout."""
        return self._log.read_text(errors="replace")

    async def wait_ready(self) -> Self:
        """Wait until it is ready."""
        await self._wait_for_status("/readyz", 200)
        return self

    async def wait_alive(self) -> Self:
        """Wait until it answers at all."""
        await self._wait_for_status("/healthz", 200)
        return self

    async def status(self, path: str) -> int:
        """Return the status with which it answers; 0 where nobody does."""
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
            try:
                return (await client.get(f"http://{HOST}:{self.port}{path}")).status_code
            except httpx.TransportError:
                return 0

    async def wait_for_log(self, text: str) -> str:
        """Wait for the first line with `text`; return it."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                for line in self.stderr().splitlines():
                    if text in line:
                        return line
                self._check_running()
                await asyncio.sleep(POLL_SECONDS)

    async def terminate(self) -> int:
        """End it in order; return the exit code."""
        assert self._process is not None, "it was not started"
        self._process.send_signal(signal.SIGTERM)
        return await self.wait_exit()

    async def kill(self) -> None:
        """End it with SIGKILL, in the middle of whatever it does."""
        assert self._process is not None, "it was not started"
        self._process.kill()
        await self.wait_exit()

    async def wait_exit(self) -> int:
        """Wait for its end; return the exit code."""
        assert self._process is not None, "it was not started"
        return await asyncio.to_thread(self._process.wait, TIMEOUT_SECONDS)

    async def _wait_for_status(self, path: str, status: int) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while await self.status(path) != status:
                    self._check_running()
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise AssertionError(f"{path} is not {status}; it says:\n{self.stderr()}") from None

    def _check_running(self) -> None:
        assert self._process is not None, "it was not started"
        code = self._process.poll()
        assert code is None, f"it has ended with {code}; it says:\n{self.stderr()}"
