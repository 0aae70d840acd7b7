"""When are the GPUs of a workload that was sent to a child counted as used in what the child reports? Pure.

A child's report of its GPUs names no workloads, and comes before or after the workload's own status. So both are
needed: the status says that the pods have their GPUs, and the GPUs in use grew by as many since something was on
its way there. Where they did not, because something else ended at the same moment, a second settles it. Until
then the GPUs stay reserved beside being used: that is never too many, and soon over.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

COUNTED_SECONDS = 1.0
"""A child reports its GPUs well within this time after they were taken."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A workload whose pods have their GPUs by the child's status."""

    uid: str
    child: str
    devices: int
    """That were reserved for it."""
    since: float
    """When its status came, in seconds."""


class Arrivals:
    """Workloads that arrived at children and may not be counted there yet."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Arrival]] = {}
        self._used: dict[str, int] = {}
        self._grown: dict[str, list[tuple[float, int]]] = {}
        """Child -> (when, devices) by which its use grew lately and that no arrival has claimed."""

    def arrived(self, one: Arrival) -> None:
        """A status came in; ask `counted` next."""
        self._waiting.setdefault(one.child, {})[one.uid] = one

    def sent(self, uid: str, child: str) -> None:
        """More of a workload is on its way there: neither its status nor any growth so far is of that."""
        self._grown.pop(child, None)
        there = self._waiting.get(child, {})
        if uid in there:
            self._taken(there[uid])

    def reported(self, child: str, used: int, now: float, *, expecting: bool) -> None:
        """GPUs were reported; ask `counted` next. expecting: whether something is on its way there."""
        growth = used - self._used.get(child, used)
        self._used[child] = used
        if not expecting:
            self._grown.pop(child, None)
        elif growth > 0:
            self._grown.setdefault(child, []).append((now, growth))

    def counted(self, child: str, now: float) -> Iterator[Arrival]:
        """Take out those whose GPUs are counted, first come first."""
        # older growth was of what was settled without it, or not of this hub's work at all
        lately = [one for one in self._grown.pop(child, ()) if now - one[0] < COUNTED_SECONDS]
        left = sum(devices for _when, devices in lately)
        for one in list(self._waiting.get(child, {}).values()):
            if one.devices <= left:
                left -= one.devices
                yield self._taken(one)
        if left:
            self._grown[child] = [(lately[-1][0], left)]

    def overdue(self, now: float) -> Iterator[Arrival]:
        """Take out those that must be counted by now, although that could not be seen."""
        for there in list(self._waiting.values()):
            for one in list(there.values()):
                if now - one.since >= COUNTED_SECONDS:
                    yield self._taken(one)

    def next_moment(self) -> float:
        """When to ask `overdue`; infinite if nothing waits."""
        waiting = (one.since for there in self._waiting.values() for one in there.values())
        return min(waiting, default=math.inf) + COUNTED_SECONDS

    def _taken(self, one: Arrival) -> Arrival:
        there = self._waiting[one.child]
        del there[one.uid]
        if not there:
            del self._waiting[one.child]
        return one
