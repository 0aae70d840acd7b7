"""What child hubs could not place: they are given no more of it until their capacity changes or time passes.

What a hub said may have been about room that was only reserved, which no report of its capacity shows; so it is
asked again after a while, later each time. Time comes in. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from arbora_hub.workloads.record import WorkloadRecord

FIRST_SECONDS = 5.0
LONGEST_SECONDS = 300.0
"""Between two questions to a hub whose capacity does not change."""


class Caps:
    """Which workloads are capped at which child hubs. The numbers stand in the records."""

    def __init__(self) -> None:
        self._at: dict[str, dict[str, WorkloadRecord]] = {}
        self._until: dict[tuple[str, str], float] = {}
        """(child, uid) -> when it may be asked again."""
        self._waits: dict[tuple[str, str], float] = {}
        """(child, uid) -> how long it was left alone last."""

    def note(self, record: WorkloadRecord, child: str, most: int, now: float) -> bool:
        """A child hub could place `most` replicas of what it was given. Whether that is news."""
        if record.caps.get(child) == most:
            return False
        record.caps[child] = most
        key = (child, record.row.uid)
        self._at.setdefault(child, {})[record.row.uid] = record
        self._waits[key] = min(LONGEST_SECONDS, 2 * self._waits[key]) if key in self._waits else FIRST_SECONDS
        self._until[key] = now + self._waits[key]
        return True

    def lift(self, child: str) -> Iterator[str]:
        """The capacity of a child changed: names of workloads that it may take more of now."""
        for uid in tuple(self._at.get(child, ())):
            self._waits.pop((child, uid), None)
            yield from self._lifted(child, uid)

    def due(self, now: float) -> Iterator[str]:
        """Names of workloads that a child may be asked about again by now."""
        for child, uid in [key for key, until in self._until.items() if until <= now]:
            yield from self._lifted(child, uid)

    def next_moment(self) -> float:
        """When to ask `due`; infinite if nothing is capped."""
        return min(self._until.values(), default=math.inf)

    def forget(self, uid: str) -> None:
        """A workload is gone."""
        for key in [key for key in self._waits if key[1] == uid]:
            del self._waits[key]
        for child in [child for child, records in self._at.items() if uid in records]:
            for _name in self._lifted(child, uid):
                pass

    def _lifted(self, child: str, uid: str) -> Iterator[str]:
        record = self._at[child].pop(uid)
        del self._until[child, uid]
        if not self._at[child]:
            del self._at[child]
        if record.caps.pop(child, None) is not None:
            yield record.row.name
