"""Works on keys: one after the other, several at once but never two on one key, and again after a failure.

The reconciliation itself is the caller's: it looks at what is wanted and at what is, does one pass, and may ask
to be called again after some seconds. A failure costs a pause that grows; it never stops the work on other keys.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError
from arbora.keyed_queue import KeyedQueue
from arbora.session.backoff import Backoff

log = structlog.get_logger(__name__)

WORKERS = 4
RETRY_BASE, RETRY_CAP = 0.2, 30.0
"""Seconds of the full-jitter back-off after a failure."""

Reconcile = Callable[[str], Awaitable[float | None]]
"""One pass over a key; returns the seconds after which it is looked at again, None: not before it changes.
Raises ArboraError for what another try may cure."""


class Controller:
    """One kind of work."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        clock: Clock,
        *,
        workers: int = WORKERS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._clock = clock
        self._workers = workers
        self._chance = chance
        self._queue = KeyedQueue(clock)
        self._backoffs: dict[str, Backoff] = {}

    def add(self, key: str) -> None:
        """Look at `key` as soon as possible."""
        self._queue.add(key)

    def add_later(self, key: str, seconds: float) -> None:
        """Look at `key` in so many seconds, unless something calls for it before."""
        self._queue.add_at(key, self._clock.monotonic() + seconds)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                again = await self._pass(key)
            finally:
                self._queue.done(key)
            if again is not None:
                self._queue.add_at(key, self._clock.monotonic() + again)

    async def _pass(self, key: str) -> float | None:
        try:
            again = await self._reconcile(key)
        except ArboraError as error:
            delay = self._later(key)
            log.warning("not_reconciled", what=self.name, key=key, why=str(error), retry_in=round(delay, 2))
            return max(delay, error.retry_after or 0.0)
        except Exception:
            # one key that hits a bug must not stop all the others
            log.exception("reconcile_failed", what=self.name, key=key)
            self._later(key)
            return RETRY_CAP
        self._backoffs.pop(key, None)
        return again

    def _later(self, key: str) -> float:
        return self._backoffs.setdefault(key, Backoff(RETRY_BASE, RETRY_CAP)).next(self._chance())
