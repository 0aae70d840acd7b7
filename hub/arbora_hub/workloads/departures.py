"""When must a placed workload be looked at again because time alone drives it out of a child? Pure.

    placed or kept in a child whose taint it tolerates for a while -> `expect` that moment
    the moment comes -> `due` names it once; deciding anew moves it, and says what to expect next

Only workloads with such a moment are kept, so a fleet without taints costs nothing here. Nothing is stored: a
restarted hub expects anew, as taints are stored with the time when they were added.
"""

from __future__ import annotations

import heapq
import math


class Departures:
    """The next moment of each workload that has one."""

    def __init__(self) -> None:
        self._moments: dict[str, float] = {}
        self._order: list[tuple[float, str]] = []
        """A heap. Entries that `_moments` does not confirm are void."""

    def expect(self, uid: str, moment: float | None) -> None:
        """Its next moment, in seconds; None: it has none any more. Replaces the one before."""
        if moment is None:
            self._moments.pop(uid, None)
        elif self._moments.get(uid) != moment:
            self._moments[uid] = moment
            heapq.heappush(self._order, (moment, uid))
        if len(self._order) > 2 * len(self._moments) + 16:
            self._order = [(moment, uid) for uid, moment in self._moments.items()]
            heapq.heapify(self._order)

    def due(self, now: float) -> tuple[str, ...]:
        """Take out those whose moment has come, the earliest first."""
        found = []
        while self.next_moment() <= now:
            _, uid = heapq.heappop(self._order)
            del self._moments[uid]
            found.append(uid)
        return tuple(found)

    def next_moment(self) -> float:
        """When to ask `due`; infinite if nothing is expected."""
        while self._order:
            moment, uid = self._order[0]
            if self._moments.get(uid) == moment:
                return moment
            heapq.heappop(self._order)
        return math.inf
