"""The network between one client and the instances: it cuts, holds, and swallows.

The rule kept here: it decides nothing by what is said on it. Each connection goes to any instance
that takes it, as a balancer's would.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

CHUNK_BYTES = 65_536


class Network:
    """Listens on a port of its own, and forwards to one of `ports`."""

    def __init__(self, ports: Sequence[int], chance: Random, port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        self.connections = 0  #: that were made
        self._ports = ports
        self._chance = chance
        self._open: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._flows.set()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection without a word."""
        for writer in tuple(self._open):
            writer.transport.abort()

    async def part(self) -> None:
        """End every connection politely, on both sides."""
        for writer in tuple(self._open):
            writer.close()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while, in either direction, and say nothing about it."""
        self._flows.clear()
        await asyncio.sleep(seconds)
        self._flows.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            for port in self._chance.sample(self._ports, len(self._ports)):
                with contextlib.suppress(OSError):
                    back, there = await asyncio.open_connection(HOST, port)
                    self.connections += 1
                    self._open.add(there)
                    await asyncio.gather(self._flow(reader, there), self._flow(back, writer))
                    return
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._open.discard(end)
                    end.transport.abort()
            self._tasks.discard(task)

    async def _flow(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._flows.wait()
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            with contextlib.suppress(OSError):
                target.write_eof()
