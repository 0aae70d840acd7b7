"""The adapter of the port `Store` on SQLite: one connection writes, two read, all on threads of their own.

Write-ahead log with synchronous=FULL: a commit is on the disk before it is answered, and readers see the
last commit without waiting for the next. `opening.py` makes one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from arbora_hub.store.connection import SqliteConnection
from arbora_hub.store.driver import connect
from arbora_hub.store.port import ReadTx, WriteTx
from arbora_hub.store.readers import ReaderPool
from arbora_hub.store.schema import BUSY_SECONDS
from arbora_hub.store.writer import GroupWriter

T = TypeVar("T")

READERS = 2
PAGE_BYTES = 4096
"""SQLite's default."""

_PRAGMAS = (
    f"busy_timeout={int(BUSY_SECONDS * 1000)}",
    "synchronous=FULL",
    "foreign_keys=ON",
    "journal_size_limit=16777216",  # a log that grew once is cut back
)


class SqliteStore:
    """`port.Store` on SQLite."""

    def __init__(self, path: Path, *, max_bytes: int | None = None) -> None:
        """The file must be prepared (`schema.prepare`). See `opening.open_store`."""
        self._engine = _engine(path)
        limit = () if max_bytes is None else (f"max_page_count={max(max_bytes // PAGE_BYTES, 1)}",)
        self._writing = SqliteConnection(self._engine, pragmas=_PRAGMAS + limit, begin="BEGIN IMMEDIATE")
        reading = partial(SqliteConnection, self._engine, pragmas=(*_PRAGMAS, "query_only=ON"), begin="BEGIN")
        self._writer = GroupWriter(self._writing)
        self._readers = ReaderPool([reading() for _ in range(READERS)])
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the writer; `close` awaits it."""
        self._task = asyncio.create_task(self._writer.run(), name="store writer")

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        """See the port."""
        return await self._writer.write(fn)

    async def read(self, fn: Callable[[ReadTx], Awaitable[T]]) -> T:
        """See the port."""
        return await self._readers.read(fn)

    async def close(self) -> None:
        """See the port."""
        self._writer.close()
        try:
            if self._task is not None:
                await self._task
            await self._readers.close()
        finally:
            await self._writing.close()
            await self._engine.dispose()


def _engine(path: Path) -> AsyncEngine:
    return create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(path)),
        async_creator=partial(connect, path),
        poolclass=sa.NullPool,  # connections are kept by the writer and the readers
        hide_parameters=True,  # some are secrets, and errors are logged
        json_serializer=partial(json.dumps, separators=(",", ":"), sort_keys=True, ensure_ascii=False),
    )
