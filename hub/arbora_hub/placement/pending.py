"""Which waiting workloads could use a change: exactly those are decided again, the most urgent first. Pure.

    decision with something pending -> add()
    a child joined, recovered, changed its labels or got room
        -> woken() -> decide() for each, until the room is gone

`woken` gives one name at a time and asks anew before each: what the last decision reserved is gone for the
next, so a freed block wakes one job and not the whole queue behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from arbora_hub.placement.capacity import room
from arbora_hub.placement.decide import admits
from arbora_hub.placement.demand import Demand
from arbora_hub.placement.filters.hardware import unit
from arbora_hub.placement.policy import Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row
from arbora_hub.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request with something pending."""

    request: Request
    since: float
    """When it was first pending, in seconds."""

    @property
    def order(self) -> tuple[int, float, str]:
        """Sorts the most urgent first."""
        return (-self.request.policy.priority, self.since, self.request.uid)


class Pending:
    """All requests that wait at a hub."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, uid: str) -> bool:
        return uid in self._waiting

    def add(self, request: Request, now: float) -> None:
        """It waits, or goes on waiting since it first did."""
        before = self._waiting.get(request.uid)
        self._waiting[request.uid] = Waiting(request, before.since if before is not None else now)

    def remove(self, uid: str) -> None:
        """It is placed or gone."""
        self._waiting.pop(uid, None)

    def queue(self) -> tuple[Waiting, ...]:
        """All, the most urgent first."""
        return tuple(sorted(self._waiting.values(), key=lambda one: one.order))

    def woken(
        self, place: Place, rows: Sequence[Row], reservations: Reservations, now: float
    ) -> Iterator[Request]:
        """Requests that the child could take some of, as it is now; the most urgent first.

        Reservations made between two steps count. Add and remove as you like in between.
        """
        alone = Snapshot([(place, rows)])
        here, version = reservations.only(place.name), reservations.version
        fits: dict[tuple[Demand, int], bool] = {}
        for one in self.queue():
            if one.request.uid not in self._waiting:
                continue
            if version != reservations.version:
                here, version = reservations.only(place.name), reservations.version
                fits.clear()
            key = (one.request.demand, unit(one.request))
            if key not in fits:
                fits[key] = int(room(alone, one.request, here).pods[0]) >= key[1]
            if fits[key] and admits(one.request, alone, here, now)[0]:
                yield one.request
