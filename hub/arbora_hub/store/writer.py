"""Group commit: one task runs the functions that wait, many of them in one transaction, and syncs once.

    write() --queue--> take a group -> BEGIN -> for each: SAVEPOINT, run, RELEASE -> COMMIT -> answer all

A function that raises is undone by itself and the others go on. If the store fails (full disk, I/O error)
the whole group is undone, each caller is told so, and the next group tries again. The task never dies of a
group's error. It knows nothing of SQLite: the steps of a transaction are a port.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog

from arbora.errors import StorageFailed
from arbora_hub.store.port import WriteTx
from arbora_hub.store.statements import Statements
from arbora_hub.store.transaction import SqlTransaction

log = structlog.get_logger(__name__)
T = TypeVar("T")

QUEUE_LIMIT = 256
"""Functions that wait at most; further callers wait before they are queued."""
GROUP_LIMIT = 64
"""Functions in one commit at most, so that nobody waits long for the others of the group."""
DEADLINE = 30.0
"""Seconds that one function may take. It may only wait for the store, so this is an error in it."""


class Transactions(Protocol):
    """The steps of transactions on one connection; those but the last two raise StorageFailed."""

    async def begin(self) -> None:
        """Begin a transaction."""

    def statements(self) -> Statements:
        """For a part of it."""

    async def savepoint(self) -> None:
        """Begin a part."""

    async def release(self) -> None:
        """Keep the part."""

    async def undo(self) -> None:
        """Undo the part."""

    async def commit(self) -> None:
        """Make the transaction durable."""

    async def rollback(self) -> None:
        """Undo it, whatever state it is in."""

    async def discard(self) -> None:
        """Undo it and give up the connection, which is in doubt."""


@dataclass(slots=True, eq=False)
class _Waiting:
    fn: Callable[[WriteTx], Awaitable[Any]]
    answer: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class GroupWriter:
    """Owns the connection that writes. `run` is its task; the store that made it starts and awaits it."""

    def __init__(self, transactions: Transactions, *, deadline: float = DEADLINE) -> None:
        self._transactions = transactions
        self._deadline = deadline
        self._room = asyncio.Semaphore(QUEUE_LIMIT)
        self._queue: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._closing = False

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        """See `port.Store.write`."""
        async with self._room:
            if self._closing:
                raise StorageFailed("the store is closed", hint="The hub is stopping; repeat the request.")
            waiting = _Waiting(fn, asyncio.get_running_loop().create_future())
            self._queue.append(waiting)
            self._wake.set()
            result: T = await waiting.answer
            return result

    def close(self) -> None:
        """Refuse new writes; `run` ends when those that wait are done."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Write until closed."""
        try:
            while self._queue or not self._closing:
                if not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                await self._write_group(self._take())
        finally:
            self._closing = True
            for waiting in self._queue:  # only if this task is cancelled
                waiting.answer.cancel()

    def _take(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        while self._queue and len(group) < GROUP_LIMIT:
            waiting = self._queue.popleft()
            if not waiting.answer.done():  # else its caller was cancelled before it began
                group.append(waiting)
        return group

    async def _write_group(self, group: list[_Waiting]) -> None:
        if not group:
            return
        try:
            await self._transactions.begin()
            for waiting in group:
                await self._run_one(waiting, alone=len(group) == 1)
            if any(waiting.error is None for waiting in group):
                await self._transactions.commit()
            else:
                await self._transactions.rollback()
        except StorageFailed as error:
            await self._transactions.rollback()
            self._fail(group, error)
        except asyncio.CancelledError:
            for waiting in group:
                waiting.answer.cancel()
            await self._transactions.discard()
            raise
        except Exception as error:  # ours to answer for: nobody may wait forever for a writer that died
            log.exception("a group of writes failed", writes=len(group))
            await self._transactions.discard()
            self._fail(
                group, StorageFailed(f"the store failed: {type(error).__name__}", hint="See the hub's log.")
            )
        else:
            for waiting in group:
                _answer(waiting)

    async def _run_one(self, waiting: _Waiting, *, alone: bool) -> None:
        """Run one function as a part of the transaction. Raises StorageFailed if the store failed."""
        if not alone:
            await self._transactions.savepoint()
        statements = self._transactions.statements()
        limit = asyncio.timeout(self._deadline)
        try:
            async with limit:
                waiting.result = await waiting.fn(SqlTransaction(statements))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            waiting.error = error  # the function cancelled itself
        except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's
            waiting.error = error
        finally:
            statements.end()
        if limit.expired():
            await self._transactions.discard()
            raise StorageFailed("a write took too long", hint="See the hub's log.") from waiting.error
        if statements.failure is not None:
            raise statements.failure
        if alone:
            return
        if waiting.error is None:
            await self._transactions.release()
        else:
            await self._transactions.undo()

    def _fail(self, group: list[_Waiting], error: StorageFailed) -> None:
        log.warning("writes failed", writes=len(group), error=str(error))
        for waiting in group:
            if waiting.answer.done():
                continue
            own = type(error)(
                error.message, hint=error.hint
            )  # each caller its own: a traceback grows as it is raised
            own.__cause__ = error
            waiting.answer.set_exception(own)


def _answer(waiting: _Waiting) -> None:
    if waiting.answer.done():  # its caller was cancelled meanwhile
        return
    if waiting.error is None:
        waiting.answer.set_result(waiting.result)
    elif isinstance(waiting.error, asyncio.CancelledError):
        waiting.answer.cancel()
    else:
        waiting.answer.set_exception(waiting.error)
