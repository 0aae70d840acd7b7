"""Time as an argument: what the agent's asynchronous parts wait on, so that tests and demos can turn the hands.

`LoopClock` is the event loop's own time, for production. `ManualClock` moves only when told to. Neither knows
the date: durations and moments of one clock are all that is needed here.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Protocol


class Clock(Protocol):
    """Moments in seconds from an arbitrary start, never going back, and a way to wait for one."""

    def monotonic(self) -> float:
        """The present moment."""
        ...

    async def wait_until(self, moment: float) -> None:
        """Return once the present is `moment` or later."""
        ...


class LoopClock:
    """The running event loop's time."""

    def monotonic(self) -> float:
        """The present moment."""
        return asyncio.get_running_loop().time()

    async def wait_until(self, moment: float) -> None:
        """Return once the present is `moment` or later."""
        await asyncio.sleep(max(0.0, moment - self.monotonic()))


class ManualClock:
    """Stands still until `advance`."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now
        self._serial = itertools.count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        """The present moment."""
        return self._now

    async def wait_until(self, moment: float) -> None:
        """Return once the present is `moment` or later."""
        if moment <= self._now:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (moment, next(self._serial), woken))
        await woken

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once and wake whoever waits for a moment that has come."""
        self._now += seconds
        while self._waiting and self._waiting[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._waiting)
            if not woken.done():  # its waiter may have been cancelled
                woken.set_result(None)

    def next_moment(self) -> float | None:
        """The earliest moment somebody waits for."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return self._waiting[0][0] if self._waiting else None


async def wait_for(event: asyncio.Event, clock: Clock, moment: float | None) -> None:
    """Return as soon as `event` is set or `clock` shows `moment`; without a moment, wait for the event alone."""
    if event.is_set():
        return
    if moment is None:
        await event.wait()
        return
    waits = (asyncio.create_task(event.wait()), asyncio.create_task(clock.wait_until(moment)))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)
