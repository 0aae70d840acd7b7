"""Rows that many callers write at the same moment, written as one.

    put() --batch--> one function for the store, which takes whatever has gathered by the time it runs

A statement costs two thread switches, which is most of its price; a hundred callers share them. Each caller is
answered for its own row: what contradicts the store fails alone, and a store that fails, fails for all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from arbora.errors import ArboraError, StorageFailed
from arbora_hub.store.port import Store, WriteTx

T = TypeVar("T")

LIMIT = 256
"""Rows in one batch at most."""


class Together(Generic[T]):
    """Writes rows of one sort."""

    def __init__(self, store: Store, write: Callable[[WriteTx, Sequence[T]], Awaitable[None]]) -> None:
        """write: writes rows in one transaction; may run again with the same rows after it failed."""
        self._store = store
        self._write = write
        self._open: list[tuple[T, asyncio.Future[None]]] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def put(self, row: T) -> None:
        """Durable when it returns. It is written even if its caller is cancelled. Raises ArboraError."""
        if self._open is None or len(self._open) >= LIMIT:
            self._open = []
            task = asyncio.create_task(self._flush(self._open), name="rows written together")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open.append((row, answer))
        await answer

    async def _flush(self, batch: list[tuple[T, asyncio.Future[None]]]) -> None:
        try:
            error = await self._attempt(batch)
            if error is not None and not isinstance(error, StorageFailed) and len(batch) > 1:
                for one in batch:
                    _tell([one], await self._attempt([one]))
            else:
                _tell(batch, error)
        finally:
            self._close(batch)
            for _row, answer in batch:  # only if this task is cancelled
                answer.cancel()

    async def _attempt(self, batch: list[tuple[T, asyncio.Future[None]]]) -> Exception | None:
        async def write(tx: WriteTx) -> None:
            self._close(batch)
            await self._write(tx, [row for row, _answer in batch])

        try:
            await self._store.write(write)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its callers'
            self._close(batch)
            return error
        return None

    def _close(self, batch: list[tuple[T, asyncio.Future[None]]]) -> None:
        """Whoever comes from now on is of the next batch."""
        if self._open is batch:
            self._open = None


def _tell(batch: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _row, answer in batch:
        if answer.done():  # its caller was cancelled meanwhile
            continue
        if error is None:
            answer.set_result(None)
        elif isinstance(error, ArboraError):
            # each caller its own: a traceback grows as it is raised
            own = type(error)(error.message, hint=error.hint, field=error.field)
            own.__cause__ = error
            answer.set_exception(own)
        else:
            answer.set_exception(error)
