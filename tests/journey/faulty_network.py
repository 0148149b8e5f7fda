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


class FaultyNetwork:
    """Listens on a port of its own, and forwards to one of `ports`."""

    def __init__(self, ports: Sequence[int], rng: Random, port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        self.connection_count = 0  #: that were made
        self._ports = ports
        self._rng = rng
        self._open_writers: set[asyncio.StreamWriter] = set()
        self._is_swallowing = False
        self._may_forward = asyncio.Event()
        self._may_forward.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._may_forward.set()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection without a word."""
        for writer in tuple(self._open_writers):
            writer.transport.abort()

    async def close(self) -> None:
        """End every connection politely, on both sides."""
        for writer in tuple(self._open_writers):
            writer.close()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while, in either direction, and say nothing about it."""
        self._may_forward.clear()
        await asyncio.sleep(seconds)
        self._may_forward.set()

    async def swallow(self, seconds: float) -> None:
        """Lose what is sent in either direction for a while, then end every connection."""
        self._is_swallowing = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.cut()
            self._is_swallowing = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open_writers.add(writer)
        upstream_writer: asyncio.StreamWriter | None = None
        try:
            await self._may_forward.wait()
            for port in self._rng.sample(self._ports, len(self._ports)):
                with contextlib.suppress(OSError):
                    upstream_reader, upstream_writer = await asyncio.open_connection(HOST, port)
                    self.connection_count += 1
                    self._open_writers.add(upstream_writer)
                    break
            if upstream_writer is not None:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._forward(reader, upstream_writer))
                    tasks.create_task(self._forward(upstream_reader, writer))
        except* OSError:
            pass
        finally:
            for each_writer in (writer, upstream_writer):
                if each_writer is not None:
                    self._open_writers.discard(each_writer)
                    each_writer.transport.abort()
            self._tasks.discard(task)

    async def _forward(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._may_forward.wait()
            if self._is_swallowing:
                continue
            target.write(data)
            await target.drain()
        if target.can_write_eof():
            with contextlib.suppress(OSError):
                target.write_eof()
