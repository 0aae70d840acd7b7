"""A hub that can be made deaf: an address from which a child reaches it, and where what the child says gets lost.

What the hub says still arrives. So a child can be brought to do its work and be killed before the hub hears of
it. It listens on another address of loopback, on the hub's own ports, because a hub tells its children a port.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

HOST = "127.0.0.2"


class DeafHub:
    """Where children dial in place of the hub."""

    def __init__(self, join_address: str) -> None:
        self.join_address = f"{HOST}:{port_of(join_address)}"
        self.deaf = False
        """Drop what children say. A connection that lost a byte is broken for good: its child must be killed."""
        self._connections: set[asyncio.Task[None]] = set()

    def carry(self, port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        """What serves connections to the hub's port, each until either end closes it."""

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:  # the hub is down: the child sees what it would see there
                writer.transport.abort()
                return
            up = asyncio.create_task(self._pump(reader, far_writer, hears=lambda: not self.deaf))
            down = asyncio.create_task(self._pump(far_reader, writer, hears=lambda: True))
            try:
                await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (up, down):
                    task.cancel()
                for end in (writer, far_writer):
                    end.transport.abort()
                await asyncio.gather(up, down, return_exceptions=True)

        return connection

    async def close(self) -> None:
        """End every connection."""
        ending = list(self._connections)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, hears: Callable[[], bool]
    ) -> None:
        while data := await reader.read(65536):
            if hears():
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def deafened(join_address: str, session_address: str) -> AsyncIterator[DeafHub]:
    """In front of the hub that listens on these two addresses, while the block lasts."""
    hub = DeafHub(join_address)
    join, session = port_of(join_address), port_of(session_address)
    async with await asyncio.start_server(hub.carry(join), HOST, join) as one:
        async with await asyncio.start_server(hub.carry(session), HOST, session) as two:
            yield hub
            one.close()
            two.close()
            await hub.close()  # else Python 3.12 and later wait for the connections' end


def port_of(address: str) -> int:
    """Of host:port."""
    return int(address.rpartition(":")[2])
