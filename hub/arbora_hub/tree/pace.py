"""How often something may be said: at once when it was quiet, then at most once per gap. A small state machine.

    mark(key, now) -> waits -> take(now) gives it when it is due -> quiet for one gap

Holds one entry for each key that waits or was given less than a gap ago. Time comes in. Pure.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush


class Pace:
    """Keys that wait for their turn."""

    __slots__ = ("_gap", "_given", "_queue", "_waiting")

    def __init__(self, gap: float) -> None:
        """gap: seconds between two turns of one key; 0: every mark is due at once."""
        self._gap = gap
        self._waiting: set[str] = set()
        self._queue: list[tuple[float, int, str]] = []
        self._given: dict[str, float] = {}
        """Last turns, the oldest first."""

    def mark(self, key: str, now: float) -> bool:
        """`key` has something to say; returns whether it did not wait already."""
        if key in self._waiting:
            return False
        self._waiting.add(key)
        due = max(now, self._given.get(key, -math.inf) + self._gap)
        heappush(self._queue, (due, len(self._waiting), key))
        return True

    def hurry(self, key: str, now: float) -> None:
        """`key` has something to say that must not wait, whenever its last turn was."""
        self._given.pop(key, None)
        self._waiting.add(key)
        heappush(self._queue, (now, -1, key))

    def take(self, now: float, limit: int | None = None) -> list[str]:
        """The keys whose turn it is, those that are due longest first; at most `limit`."""
        self._forget(now)
        taken: list[str] = []
        while self._queue and self._queue[0][0] <= now and (limit is None or len(taken) < limit):
            key = heappop(self._queue)[2]
            if key not in self._waiting:
                continue  # it was in a hurry and had its turn already
            self._waiting.discard(key)
            self._given.pop(key, None)
            self._given[key] = now
            taken.append(key)
        return taken

    def next_due(self) -> float | None:
        """When the next turn is; None: nobody waits."""
        return self._queue[0][0] if self._queue else None

    def clear(self) -> None:
        """Forget who waits and who had a turn."""
        self._waiting.clear()
        self._queue.clear()
        self._given.clear()

    def _forget(self, now: float) -> None:
        """Turns that are a gap ago hold nobody back."""
        old = []
        for key, at in self._given.items():
            if at + self._gap > now:
                break
            old.append(key)
        for key in old:
            del self._given[key]
