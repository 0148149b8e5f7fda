"""A Prometheus of this machine with what `compose/` gives to its own.

The rule kept here: configuration, rules and command are the very ones that people start. Only the
addresses differ, the paths, and the pace: what takes 5 s there takes 1 s here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from tests.harness.ports import HOST, free_ports
from tests.journey.compose_stack import COMPOSE_FOLDER, services

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1


class PrometheusProcess:
    """`prometheus`, which asks `targets` in the place of the demo's bridges."""

    def __init__(self, folder: Path, *targets: str) -> None:
        (port,) = free_ports(1)
        self._log = folder / "prometheus.log"
        shutil.copy(COMPOSE_FOLDER / "alerts.yaml", folder)
        text = (COMPOSE_FOLDER / "prometheus.yaml").read_text(encoding="utf-8")
        for old, new in {
            '["bridge-1:9090", "bridge-2:9090"]': json.dumps(targets),
            "scrape_interval: 5s": "scrape_interval: 1s",
            "scrape_timeout: 4s": "scrape_timeout: 1s",
            "evaluation_interval: 5s": "evaluation_interval: 1s",
        }.items():
            assert text.count(old) == 1, f"prometheus.yaml has {old!r} not once"
            text = text.replace(old, new)
        (folder / "prometheus.yaml").write_text(text, encoding="utf-8")
        config, data = "--config.file=", "--storage.tsdb.path="
        local_paths = {
            f"{config}/etc/prometheus/prometheus.yaml": f"{config}{folder}/prometheus.yaml",
            f"{data}/tmp/prometheus": f"{data}{folder}/data",
        }
        command = services()["prometheus"]["command"]
        assert local_paths.keys() <= {*command}
        self._command = ["prometheus", f"--web.listen-address={HOST}:{port}"]
        self._command += [local_paths.get(word, word) for word in command]
        *_, health_url = services()["prometheus"]["healthcheck"]["test"]
        self._health_url = health_url.replace("127.0.0.1:9090", f"{HOST}:{port}")
        self._http = httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}", trust_env=False, timeout=TIMEOUT_SECONDS
        )
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._process = self._start()
        try:
            await self.wait_until(self._is_ready)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, TIMEOUT_SECONDS)
        await self._http.aclose()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of its API."""
        response = (await self._http.get(f"/api/v1/{path}", params=parameters)).json()
        assert response["status"] == "success", f"{parameters}: {response}"
        assert not response.get("warnings"), f"{parameters}: {response}"
        return response["data"]

    async def query(self, expr: str) -> list[Any]:
        """Return the series that `expr` has now."""
        found: list[Any] = (await self.get("query", query=expr))["result"]
        return found

    async def rules(self) -> dict[str, Any]:
        """Return what it knows of each alert."""
        (group,) = (await self.get("rules"))["groups"]
        return {rule["name"]: rule for rule in group["rules"]}

    async def wait_until(self, condition: Callable[[], Awaitable[object]]) -> None:
        """Wait for `condition`."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not await condition():
                assert self._process is not None
                assert self._process.poll() is None, self._log.read_text(errors="replace")
                await asyncio.sleep(POLL_SECONDS)

    async def _is_ready(self) -> bool:
        """Whether it is well, by the address that compose asks for that."""
        with contextlib.suppress(httpx.TransportError):
            return (await self._http.get(self._health_url)).is_success
        return False
