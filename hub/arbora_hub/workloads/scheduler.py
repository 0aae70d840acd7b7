"""Placement at run time: what the hub knows as a snapshot, what it has reserved, who waits.

    a child changed -> `place_changed` -> its columns; whoever waits and could use it is named
    a workload -> `decide` -> `reserve` -> (the controller stores it) -> `remember`, or `take_back`
    its status says `arrived`, its GPUs as it reports them grew -> the reservation is cleared (`arrivals.py`)
    a taint is tolerated no longer -> `leaving` names whoever has to move (`departures.py`)

Decides nothing itself: `placement.decide` does. No I/O; time comes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

from arbora.capacity.gpus import GpuClass
from arbora_hub.inventory.child import Child
from arbora_hub.placement.decide import Decision, decide
from arbora_hub.placement.filters.taints import next_eviction
from arbora_hub.placement.pending import Pending
from arbora_hub.placement.policy import Request
from arbora_hub.placement.reservations import TTL, Reservations
from arbora_hub.placement.rows import child_of
from arbora_hub.placement.snapshot import Snapshot
from arbora_hub.workloads.arrivals import Arrival, Arrivals
from arbora_hub.workloads.departures import Departures
from arbora_hub.workloads.places import places_of

AGAIN_SECONDS = 1.0
"""After which work that is where it may not be is looked at, though it was just decided upon."""


class Scheduler:
    """One hub's placement."""

    def __init__(self, price: Callable[[str, GpuClass], float | None]) -> None:
        """price: per device and hour of a class in a child; None: not known."""
        self._price = price
        self._inherited: Mapping[str, str] = {}
        self._snapshot = Snapshot()
        self._reservations = Reservations()
        self._pending = Pending()
        self._arrivals = Arrivals()
        self._departures = Departures()
        self._freed: set[str] = set()
        """Children that got room because a reservation ended."""

    def place_changed(
        self, child: Child, path: str, inherited: Mapping[str, str] = MappingProxyType({}), *, active: bool
    ) -> None:
        """Take over what is known of a child now. active: whether it is still a member.

        inherited: labels that the hub above gave this one, which count for every child.
        """
        self._inherited = inherited
        places = places_of(child, path, self._price, inherited) if active else ()
        names = {place.name for place, _rows in places}
        for name in self._snapshot.places_of(child.name):
            if name not in names:
                self._snapshot.remove(name)
        for place, rows in places:
            self._snapshot.replace(place, rows)

    def decide(
        self, request: Request, previous: Mapping[str, int], now: float, *, everything: bool = False
    ) -> Decision:
        """Where a workload goes. previous: child -> units that it has. everything: explain every child."""
        self._freed.update(self._reservations.expire(now))
        if everything:
            return decide(request, self._snapshot, previous, self._reservations, now, top=None)
        return decide(request, self._snapshot, previous, self._reservations, now)

    @property
    def classes(self) -> tuple[GpuClass | None, ...]:
        """GPU classes that children have shown, those of lost ones too; see `Snapshot.classes`."""
        return self._snapshot.classes

    @property
    def room(self) -> int:
        """Another number than before if since then some child may have got room."""
        return self._snapshot.version + self._reservations.ended

    def reserve(self, request: Request, decision: Decision, now: float, ttl: float = TTL) -> None:
        """Reserve what a decision added, at once: the next one may be asked for while this one is stored.

        ttl: seconds.
        """
        self._reservations.hold(request.uid, request.demand, decision.added, now, ttl)
        for place, _replicas in decision.added:
            self._arrivals.sent(request.uid, child_of(place))

    def reserve_again(self, request: Request, child: str, replicas: int, now: float) -> None:
        """A child is back, and a part may only now arrive there: what was reserved may have run out meanwhile."""
        if not self._reservations.devices(request.uid, child):
            places = self._snapshot.places_of(child)
            self._reservations.hold(request.uid, request.demand, [(one, replicas) for one in places[:1]], now)

    def take_back(self, request: Request, decision: Decision) -> None:
        """A decision could not be stored: drop what `reserve` did last for it."""
        self._freed.update(self._reservations.take_back(request.uid, request.demand, decision.added))

    def remember(self, request: Request, decision: Decision, now: float) -> None:
        """A decision was stored: something of it waits, or nothing any more."""
        if decision.pending:
            self._pending.add(request, now)
        else:
            self._pending.remove(request.uid)
        self.watch(request, (child for child, _ in decision.assignments), now)

    def watch(self, request: Request, children: Iterable[str], now: float) -> None:
        """A workload has parts in these children: `leaving` tells when a toleration of it runs out there."""
        tolerations, first = request.policy.tolerations, math.inf
        for child in children:
            slots = self._snapshot.slots_of(child)
            taints = [taint for slot in slots for taint in self._snapshot.place(slot).taints]
            moment = next_eviction(taints, tolerations, now) if taints else None
            if moment is not None:
                # not at once: the taint came while the decision was being stored, and a decision that
                # leaves work there for another reason must not be asked for without end
                first = min(first, moment if moment > now else now + AGAIN_SECONDS)
        self._departures.expect(request.uid, None if math.isinf(first) else first)

    def leaving(self, now: float) -> tuple[str, ...]:
        """Uids of workloads that time drives out of a child now: decide them again. Names each once."""
        return self._departures.due(now)

    def arrived(self, uid: str, child: str, now: float) -> None:
        """A workload's pods have their GPUs by the child's status. `due` tells what follows."""
        if devices := self._reservations.devices(uid, child):
            self._arrivals.arrived(Arrival(uid, child, devices, now))
            self._settle(self._arrivals.counted(child, now))
        else:
            self._reservations.clear(uid, child)

    def capacity_reported(self, child: Child, now: float) -> None:
        """A child reported its GPUs anew. Take that over with `place_changed`."""
        used = sum(row.used for sketch in child.sketches.values() for row in sketch.rows)
        self._arrivals.reported(child.name, used, now, expecting=self._reservations.holds_at(child.name))
        self._settle(self._arrivals.counted(child.name, now))

    def taken_away(self, uid: str, child: str) -> None:
        """A workload has no part in a child any more."""
        if self._reservations.clear(uid, child):
            self._freed.add(child)

    def due(self, now: float) -> tuple[str, ...]:
        """Children that got room since this was last asked, by more than their own reports; call `woken`."""
        self._freed.update(self._reservations.expire(now))
        self._settle(self._arrivals.overdue(now))
        freed, self._freed = tuple(sorted(self._freed)), set()
        return freed

    def rest(self, now: float) -> float:
        """Seconds until `due` or `leaving` may have something to say; infinite if nothing is on its way."""
        if self._freed:
            return 0.0
        arrivals, departures = self._arrivals.next_moment(), self._departures.next_moment()
        return max(0.0, min(arrivals, departures, self._reservations.next_end()) - now)

    def _settle(self, counted: Iterable[Arrival]) -> None:
        """What is counted as used need not be reserved any more."""
        for one in counted:
            if self._reservations.clear(one.uid, one.child):
                self._freed.add(one.child)

    def forget(self, uid: str) -> None:
        """A workload is gone."""
        self._freed.update(self._reservations.release(uid))
        self._pending.remove(uid)
        self._departures.expect(uid, None)

    def woken(self, child: Child, path: str, now: float) -> Iterator[str]:
        """Uids of waiting workloads that this child could take some of, the most urgent first."""
        if not len(self._pending):
            return
        for place, rows in places_of(child, path, self._price, self._inherited):
            for request in self._pending.woken(place, rows, self._reservations, now):
                yield request.uid

    def waiting(self) -> tuple[str, ...]:
        """Uids of all that wait, the most urgent first."""
        return tuple(one.request.uid for one in self._pending.queue())
