"""Which key a worker takes next, and when: for reconcilers.

A key waits at most once, and is in the hands of at most one worker; what is added meanwhile comes again after
`done`. So the queue holds no more than one entry per key, and no two workers ever meet over one.
(The idea is client-go's workqueue.)
"""

from __future__ import annotations

import asyncio
from collections import deque

from arbora.clock import Clock, wait_for


class KeyedQueue:
    """Keys to work on, some of them only from a moment on. For one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: deque[str] = deque()
        self._waiting: set[str] = set()
        self._taken: set[str] = set()
        self._again: set[str] = set()
        self._later: dict[str, float] = {}
        self._rescheduled = asyncio.Event()
        self._available = asyncio.Event()

    def add(self, key: str) -> None:
        """Work on `key` as soon as possible."""
        self._later.pop(key, None)
        if key in self._taken:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._available.set()

    def add_at(self, key: str, moment: float) -> None:
        """Work on `key` at `moment`, if nothing calls for it before; the earliest moment counts."""
        if key in self._waiting or moment >= self._later.get(key, float("inf")):
            return
        self._later[key] = moment
        self._rescheduled.set()

    def discard(self, key: str) -> None:
        """Forget about `key`, unless a worker has it."""
        self._later.pop(key, None)
        self._again.discard(key)
        if key in self._waiting:
            self._waiting.remove(key)
            self._ready.remove(key)

    async def take(self) -> str:
        """The next key, now in the hands of the caller, who calls `done` with it."""
        while not self._ready:
            self._available.clear()
            await self._available.wait()
        key = self._ready.popleft()
        self._waiting.remove(key)
        self._taken.add(key)
        return key

    def done(self, key: str) -> None:
        """The caller has finished with `key`."""
        self._taken.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    async def run(self) -> None:
        """Bring up keys whose moment has come, until cancelled."""
        while True:
            now = self._clock.monotonic()
            for key in [key for key, moment in self._later.items() if moment <= now]:
                self.add(key)
            self._rescheduled.clear()
            await wait_for(self._rescheduled, self._clock, min(self._later.values(), default=None))
