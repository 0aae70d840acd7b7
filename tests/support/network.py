"""A TCP proxy on loopback that can do what networks do: freeze, cut, refuse. It carries bytes and reads none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Passes bytes to one port of loopback."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._connections: dict[asyncio.Task[None], set[asyncio.StreamWriter]] = {}
        self.address = ""
        """host:port to dial in place of the target."""
        self.accepted = 0
        """Connections so far."""

    def freeze(self) -> None:
        """Half-open: connections stay, new ones are accepted, and no byte passes either way."""
        self._flows.clear()

    def thaw(self) -> None:
        """Bytes pass again, those that waited first."""
        self._flows.set()

    def cut(self, *, refuse: bool = False) -> None:
        """Reset every connection. refuse: and every new one until `mend`."""
        self._refuses = refuse
        for writers in self._connections.values():
            for writer in writers:
                writer.transport.abort()

    def mend(self) -> None:
        """Accept connections again."""
        self._refuses = False

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        writers = self._connections[task] = {writer}
        try:
            if self._refuses:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            writers.add(far_writer)
            pumps = (self._pump(reader, far_writer), self._pump(far_reader, writer))
            await _first_of(*(asyncio.create_task(pump) for pump in pumps))
        except OSError:
            return  # the target is down: the dialer sees a reset, as it would without a proxy
        finally:
            del self._connections[task]
            for one in writers:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            writer.write(data)
            await writer.drain()

    async def close(self) -> None:
        """End every connection and wait until they have ended."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _first_of(*tasks: asyncio.Task[None]) -> None:
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def proxy_to(address: str) -> AsyncIterator[Proxy]:
    """A proxy to `address` (its port; loopback) while the block lasts."""
    proxy = Proxy(int(address.rpartition(":")[2]))
    server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
