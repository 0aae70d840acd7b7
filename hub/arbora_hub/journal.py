"""Events and the audit log: what happened, for people.

Events are told at once to whoever watches and written in the background, a batch at a time; an event is
worth less than the work it tells of. Audit entries are durable before the call that caused them is answered.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import structlog

from arbora.errors import StorageFailed
from arbora.v1 import event_pb2
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.record_ids import RecordIds
from arbora_hub.store.rows import AuditRow, EventRow
from arbora_hub.store.together import Together

log = structlog.get_logger(__name__)

NORMAL = event_pb2.SEVERITY_NORMAL
WARNING = event_pb2.SEVERITY_WARNING

PENDING_LIMIT = 10_000
"""Events that wait for the store at most; beyond, the oldest are lost and that is logged."""
WATCHER_LIMIT = 500
"""Events that wait for one slow watcher at most."""


class Watcher:
    """One watcher's queue."""

    __slots__ = ("_queue", "_skipped", "_wake")

    def __init__(self) -> None:
        self._queue: deque[EventRow] = deque()
        self._skipped = 0
        self._wake = asyncio.Event()

    def offer(self, row: EventRow) -> None:
        """Queue it, or count it as skipped."""
        if len(self._queue) >= WATCHER_LIMIT:
            self._queue.popleft()
            self._skipped += 1
        self._queue.append(row)
        self._wake.set()

    async def take(self) -> tuple[EventRow, int]:
        """The next event, and how many were skipped before it."""
        while not self._queue:
            self._wake.clear()
            await self._wake.wait()
        skipped, self._skipped = self._skipped, 0
        return self._queue.popleft(), skipped


class Journal:
    """Records events and audit entries."""

    def __init__(self, store: Store, limit: int, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._audit = Together(store, _add_entries)
        self._limit = limit
        self._clock = clock
        self._ids = RecordIds()
        self._pending: deque[EventRow] = deque()
        self._lost = 0
        self._wake = asyncio.Event()
        self._watchers: set[Watcher] = set()

    def event(self, severity: int, reason: str, subject: str, message: str) -> None:
        """Something happened. reason: one CamelCase word; subject: noun/name; message: a sentence."""
        now = self._clock()
        row = EventRow(
            id=self._ids.next(now),
            time=now,
            severity=severity,
            reason=reason,
            subject=subject,
            message=message[:1000],
        )
        if len(self._pending) >= PENDING_LIMIT:
            self._pending.popleft()
            self._lost += 1
        self._pending.append(row)
        self._wake.set()
        for watcher in self._watchers:
            watcher.offer(row)

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Events from now on."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    async def audit(self, actor: str, action: str, subject: str, outcome: str, peer: str, detail: str) -> None:
        """Durable when it returns. Raises StorageFailed."""
        now = self._clock()
        row = AuditRow(
            id=self._ids.next(now),
            time=now,
            actor=actor,
            action=action,
            subject=subject,
            outcome=outcome,
            peer=peer,
            detail=detail[:2000],
        )
        await self._audit.put(row)

    async def run(self) -> None:
        """Write events until cancelled."""
        written = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self.flush():
                await asyncio.sleep(1.0)
                self._wake.set()
            written += 1
            if written % 100 == 1:
                await self._trim()
            await asyncio.sleep(0.2)

    async def flush(self) -> bool:
        """Write what waits; False if the store can't now."""
        if not self._pending:
            return True
        rows = list(self._pending)

        async def write(tx: WriteTx) -> None:
            await tx.events.add_many(rows)

        try:
            await self._store.write(write)
        except StorageFailed as error:
            log.warning("events wait for the store", waiting=len(self._pending), error=str(error))
            return False
        kept = set(rows[-1:])
        while self._pending:
            if self._pending.popleft() in kept:
                break
        if self._lost:
            log.warning("events were lost while the store could not write", lost=self._lost)
            self._lost = 0
        return True

    async def _trim(self) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.events.trim(self._limit)

        try:
            await self._store.write(write)
        except StorageFailed as error:
            log.warning("old events could not be removed", error=str(error))


async def _add_entries(tx: WriteTx, rows: Sequence[AuditRow]) -> None:
    await tx.audit.add_many(rows)
