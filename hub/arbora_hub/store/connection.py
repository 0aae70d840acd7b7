"""One SQLite connection and its transactions, for the writer or for a reader.

SQLAlchemy runs the statements and leaves transactions to this module (its AUTOCOMMIT mode); BEGIN, SAVEPOINT
and COMMIT go straight to the driver, which saves most of their cost. A connection that is in doubt (a
statement was cancelled, a rollback failed) is thrown away and opened again at the next BEGIN.
"""

from __future__ import annotations

import sqlite3

import aiosqlite
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from arbora.errors import StorageFailed
from arbora_hub.store.failures import translated
from arbora_hub.store.statements import Statements

log = structlog.get_logger(__name__)


class SqliteConnection:
    """A connection that is opened when it is needed."""

    __slots__ = ("_begin", "_connection", "_driver", "_engine", "_pragmas")

    def __init__(self, engine: AsyncEngine, *, pragmas: tuple[str, ...], begin: str) -> None:
        """pragmas: `name=value`, set each time it is opened. begin: the statement that begins a transaction."""
        self._engine = engine
        self._pragmas = pragmas
        self._begin = begin
        self._connection: AsyncConnection | None = None
        self._driver: aiosqlite.Connection | None = None

    async def begin(self) -> None:
        """Begin a transaction. Raises StorageFailed."""
        if self._connection is None or self._driver is None:
            await self._open()
        await self._control(self._begin)

    def statements(self) -> Statements:
        """For a part of the transaction that was begun."""
        if self._connection is None:
            raise _closed()
        return Statements(self._connection)

    async def commit(self) -> None:
        """Make it durable. Raises StorageFailed; then it must be rolled back."""
        await self._control("COMMIT")

    async def savepoint(self) -> None:
        """Begin a part that can be undone by itself. Raises StorageFailed."""
        await self._control("SAVEPOINT part")

    async def release(self) -> None:
        """Keep the part. Raises StorageFailed."""
        await self._control("RELEASE SAVEPOINT part")

    async def undo(self) -> None:
        """Undo the part. Raises StorageFailed."""
        await self._control("ROLLBACK TO SAVEPOINT part")
        await self._control("RELEASE SAVEPOINT part")

    async def rollback(self) -> None:
        """Undo the transaction, if there is one. Never fails: at worst the connection is thrown away."""
        if self._driver is None:
            return
        try:
            if self._driver.in_transaction:  # SQLite may have rolled back by itself
                await self._control("ROLLBACK")
        except StorageFailed as error:
            log.warning("the store's connection is replaced", error=str(error))
            await self.discard()

    async def discard(self) -> None:
        """Throw the connection away; what it had not committed is undone."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is None:
            return
        try:
            await connection.invalidate()
            await connection.close()
        except (sqlite3.Error, SQLAlchemyError, ValueError) as error:
            log.warning("the store's connection did not close cleanly", error=str(error))

    async def close(self) -> None:
        """Let go of it."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            with translated():
                await connection.close()

    async def _open(self) -> None:
        with translated():
            connection = await self._engine.connect()
        self._connection = connection
        try:
            with translated():
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                driver = (await connection.get_raw_connection()).driver_connection
                assert isinstance(driver, aiosqlite.Connection)
                self._driver = driver
                for pragma in self._pragmas:
                    await driver.execute_fetchall(f"PRAGMA {pragma}")
        except BaseException:  # cancelled or failed half way: the next BEGIN opens it anew
            await self.discard()
            raise

    async def _control(self, statement: str) -> None:
        if self._driver is None:
            raise _closed()
        try:
            with translated():
                await self._driver.execute_fetchall(statement)
        except ValueError as error:  # how aiosqlite says that its thread is gone
            await self.discard()
            raise StorageFailed("the store's connection is gone", hint="Repeat the request.") from error


def _closed() -> StorageFailed:
    return StorageFailed("the store's connection is closed", hint="Repeat the request.")
