"""aiosqlite's connection with one hop to its thread for each statement, where its own cursor takes four.

A hop is two thread switches, and on a busy machine they are most of what a small statement costs. Results
are fetched at once, in the same hop, which is what SQLAlchemy's adapter does in any case. Nothing here
knows of tables or transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import aiosqlite


class WholeCursor:
    """What SQLAlchemy's adapter uses of a cursor; a statement's whole result is there once it has run."""

    __slots__ = ("_connection", "_rows", "arraysize", "description", "lastrowid", "rowcount")

    def __init__(self, connection: WholeConnection) -> None:
        self._connection = connection
        self._rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> WholeCursor:
        return self

    async def execute(self, sql: str, parameters: Any = ()) -> WholeCursor:
        """Run a statement."""
        return await self._run(lambda cursor: cursor.execute(sql, parameters))

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> WholeCursor:
        """Run a statement once for each set of parameters."""
        return await self._run(lambda cursor: cursor.executemany(sql, parameters))

    async def fetchall(self) -> list[Any]:
        """The rows of the last statement, once."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """Forget the rows; the driver's own cursor is closed since the statement ran."""
        self._rows = []

    async def _run(self, run: Callable[[sqlite3.Cursor], object]) -> WholeCursor:
        result = await self._connection.run_whole(run)
        self._rows, self.description, self.rowcount, self.lastrowid = result
        return self


class WholeConnection(aiosqlite.Connection):
    """An aiosqlite connection that gives out `WholeCursor`."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True  # a hub that fails before it closed its store must still end

    def cursor(self) -> WholeCursor:  # type: ignore[override]  # the adapter enters and awaits it the same way
        """A cursor; costs nothing."""
        return WholeCursor(self)

    async def run_whole(self, run: Callable[[sqlite3.Cursor], object]) -> tuple[list[Any], Any, int, int | None]:
        """Run a statement on the connection's thread; its rows, description, rowcount, lastrowid."""
        hop = self._execute(_whole, self._conn, run)  # type: ignore[no-untyped-call]
        result: tuple[list[Any], Any, int, int | None] = await hop
        return result


def _whole(
    connection: sqlite3.Connection, run: Callable[[sqlite3.Cursor], object]
) -> tuple[list[Any], Any, int, int | None]:
    cursor = connection.cursor()
    try:
        run(cursor)
        rows = cursor.fetchall() if cursor.description else []
        return rows, cursor.description, cursor.rowcount, cursor.lastrowid
    finally:
        cursor.close()


async def connect(path: Path) -> WholeConnection:
    """A connection to the database at `path`, in autocommit mode. Raises sqlite3.Error."""
    connector = partial(sqlite3.connect, str(path), isolation_level=None, check_same_thread=False)
    return await WholeConnection(connector)  # type: ignore[return-value]  # aiosqlite gives back the same object
