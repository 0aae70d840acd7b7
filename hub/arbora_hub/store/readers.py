"""Reads, each on one of a few connections of its own, so that they never wait for a write."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from arbora.errors import StorageFailed
from arbora_hub.store.connection import SqliteConnection
from arbora_hub.store.port import ReadTx
from arbora_hub.store.transaction import SqlTransaction

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds that one function may take."""


class ReaderPool:
    """A fixed number of connections; callers beyond it wait in the order in which they came."""

    def __init__(self, connections: Sequence[SqliteConnection], *, deadline: float = DEADLINE) -> None:
        self._idle = list(connections)
        self._size = len(connections)
        self._free = asyncio.Semaphore(self._size)
        self._deadline = deadline
        self._closing = False

    async def read(self, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        """See `port.Store.read`."""
        async with self._free:
            if self._closing:
                raise StorageFailed("the store is closed", hint="The hub is stopping; repeat the request.")
            connection = self._idle.pop()
            try:
                return await self._read(connection, fn)
            finally:
                self._idle.append(connection)

    async def _read(self, connection: SqliteConnection, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                await connection.begin()
                statements = connection.statements()
                try:
                    return await fn(SqlTransaction(statements))
                finally:
                    statements.end()
        except TimeoutError as error:
            if not limit.expired():
                raise
            await connection.discard()
            raise StorageFailed("a read took too long", hint="See the hub's log.") from error
        except asyncio.CancelledError:
            await connection.discard()  # a statement may still run on it
            raise
        finally:
            await connection.rollback()

    async def close(self) -> None:
        """Wait for the reads that run, then let go of the connections."""
        self._closing = True
        for _ in range(self._size):
            await self._free.acquire()
        try:
            for connection in self._idle:
                await connection.close()
        finally:
            for _ in range(self._size):
                self._free.release()  # whoever waited is refused
