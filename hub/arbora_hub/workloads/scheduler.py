"""Placement at run time: what the hub knows as a snapshot, what it has reserved, who waits.

    a child changed -> `place_changed` -> its columns; whoever waits and could use it is named
    a workload -> `decide` -> (the controller stores it) -> `hold`
    a child's report carries the workload -> `reported` -> the reservation is cleared

Decides nothing itself: `placement.decide` does. No I/O; time comes in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from arbora.capacity.gpus import GpuClass
from arbora.capacity.wire import sketch_from_wire
from arbora.errors import InvalidInput
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.placement.decide import Decision, decide
from arbora_hub.placement.pending import Pending
from arbora_hub.placement.policy import Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import LOST, ONLINE, SUSPECT, Place, Row, Taint
from arbora_hub.placement.snapshot import Snapshot

_LIVENESS = {
    Liveness.ONLINE: ONLINE,
    Liveness.SUSPECT: SUSPECT,
    Liveness.LOST: LOST,
    # Enrolled and not yet seen: explicit work may wait for it, and it has no capacity to be chosen for.
    Liveness.JOINING: SUSPECT,
}


class Scheduler:
    """One hub's placement."""

    def __init__(self, price: Callable[[str, GpuClass], float | None]) -> None:
        """price: per device and hour of a class in a child; None: not known."""
        self._price = price
        self._snapshot = Snapshot()
        self._reservations = Reservations()
        self._pending = Pending()

    def place_changed(self, child: Child, path: str, *, active: bool) -> None:
        """Take over what is known of a child now. active: whether it is still a member."""
        if active:
            self._snapshot.replace(place_of(child, path), rows_of(child, self._price))
        else:
            self._snapshot.remove(child.name)

    def decide(
        self, request: Request, previous: Mapping[str, int], now: float, *, everything: bool = False
    ) -> Decision:
        """Where a workload goes. previous: child -> units that it has. everything: explain every child."""
        self._reservations.expire(now)
        if everything:
            return decide(request, self._snapshot, previous, self._reservations, now, top=None)
        return decide(request, self._snapshot, previous, self._reservations, now)

    def hold(self, request: Request, decision: Decision, now: float) -> None:
        """A decision was stored: reserve what it added, and remember it if something waits."""
        self._reservations.hold(request.uid, request.demand, decision.added, now)
        if decision.pending:
            self._pending.add(request, now)
        else:
            self._pending.remove(request.uid)

    def reported(self, uid: str, child: str) -> None:
        """A child's report carries the workload, or it was taken from there."""
        self._reservations.clear(uid, child)

    def forget(self, uid: str) -> None:
        """A workload is gone."""
        self._reservations.release(uid)
        self._pending.remove(uid)

    def woken(self, child: Child, path: str, now: float) -> Iterator[str]:
        """Uids of waiting workloads that this child could take some of, the most urgent first."""
        if not len(self._pending):
            return
        rows = rows_of(child, self._price)
        for request in self._pending.woken(place_of(child, path), rows, self._reservations, now):
            yield request.uid

    def waiting(self) -> tuple[str, ...]:
        """Uids of all that wait, the most urgent first."""
        return tuple(one.request.uid for one in self._pending.queue())


def place_of(child: Child, path: str) -> Place:
    """What placement knows of a child itself."""
    row = child.row
    return Place(
        name=row.name,
        labels=dict(row.labels),
        path=path,
        taints=tuple(Taint(key, effect, value) for key, value, effect in row.taints),
        liveness=_LIVENESS[child.liveness],
        cordoned=row.cordoned,
        properties={"kubernetes": child.status.kubernetes_version} if child.status is not None else {},
    )


def rows_of(child: Child, price: Callable[[str, GpuClass], float | None]) -> tuple[Row, ...]:
    """Its capacity by GPU class; what can't be read counts as not there."""
    rows = []
    for message in child.sketches.values():
        try:
            gpu_class, sketch = sketch_from_wire(message)
        except InvalidInput:
            continue
        rows.append(Row(gpu_class, sketch, price=price(child.name, gpu_class)))
    return tuple(rows)
