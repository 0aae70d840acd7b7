"""What was given and is not yet in a child's report: so that a burst never lands on the same free GPUs.

    decision -> hold() -> counted against the child -> the child's report carries the workload -> clear()
                                                    -> 60 s later                              -> expired

A reserved pod of r devices costs a later pod size q at most ceil(r / q) places, wherever Kubernetes puts it; that
worst case is what is subtracted (exact for equal sizes, and where q divides r). Time comes in; it must not run
backwards between calls. No I/O.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.demand import Demand, GpuWish
from arbora_hub.placement.rows import child_of
from arbora_hub.placement.snapshot import Snapshot

TTL = 60.0
"""Seconds."""
_MAX_VIEWS = 64


@dataclass(frozen=True, slots=True)
class Held:
    """Pods of one size that are on their way to a child."""

    wish: GpuWish | None
    gpus_per_pod: int
    pods: int
    cpu_millis: int
    """Per pod."""
    memory_mib: int
    """Per pod."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a child was given for a workload."""

    uid: str
    place: str
    parts: tuple[Held, ...]
    expires: float

    @property
    def child(self) -> str:
        """Whose place it is."""
        return child_of(self.place)


class Reservations:
    """All reservations of a hub."""

    def __init__(self) -> None:
        self.version = 0
        self.ended = 0
        """Reservations that ended, in whatever way."""
        self._count_held = 0
        self._by_key: dict[tuple[str, str], list[Reservation]] = {}
        self._by_uid: dict[str, set[str]] = {}
        self._by_child: dict[str, set[str]] = {}
        """Uids that hold something at a child."""
        self._ends: list[tuple[float, str, str]] = []
        self._seen: tuple[Snapshot | None, int] = (None, -1)
        self._slot_of: Mapping[str, int] = {}
        self._views: OrderedDict[tuple[GpuWish | None, int], Ints] = OrderedDict()

    def __len__(self) -> int:
        return self._count_held

    def hold(
        self, uid: str, demand: Demand, added: Iterable[tuple[str, int]], now: float, ttl: float = TTL
    ) -> None:
        """Reserve what a decision added at places. A workload may be held several times; all count."""
        for place, replicas in added:
            parts, child = held_parts(demand, replicas), child_of(place)
            if not parts:
                continue
            one = Reservation(uid, place, parts, now + ttl)
            self._by_key.setdefault((uid, child), []).append(one)
            self._by_uid.setdefault(uid, set()).add(child)
            self._by_child.setdefault(child, set()).add(uid)
            heapq.heappush(self._ends, (one.expires, uid, child))
            self._count(one, 1)

    def take_back(self, uid: str, demand: Demand, added: Iterable[tuple[str, int]]) -> tuple[str, ...]:
        """Undo the last `hold` of a workload, which was given the same; the children that got room."""
        freed = []
        for place, replicas in reversed(tuple(added)):
            child = child_of(place)
            parts, held = held_parts(demand, replicas), self._by_key.get((uid, child), [])
            if not held or held[-1].parts != parts:
                continue  # it has run out meanwhile
            self._count(held.pop(), -1)
            if not held:
                del self._by_key[uid, child]
                self._forget(uid, child)
            freed.append(child)
        return tuple(reversed(freed))

    def clear(self, uid: str, child: str) -> bool:
        """The child's report carries the workload, or it was withdrawn. Whether anything was held."""
        held = self._by_key.pop((uid, child), [])
        for one in held:
            self._count(one, -1)
        if held:
            self._forget(uid, child)
        return bool(held)

    def release(self, uid: str) -> tuple[str, ...]:
        """Drop everything that is held for a workload; the children that got room."""
        children = tuple(sorted(self._by_uid.get(uid, ())))
        for child in children:
            self.clear(uid, child)
        return children

    def expire(self, now: float) -> tuple[str, ...]:
        """Drop what has run out; the children that got room."""
        freed: dict[str, None] = {}
        while self._ends and self._ends[0][0] <= now:
            _, uid, child = heapq.heappop(self._ends)
            held = self._by_key.get((uid, child), [])
            gone = [one for one in held if one.expires <= now]
            if not gone:
                continue
            for one in gone:
                self._count(one, -1)
                held.remove(one)
            if not held:
                del self._by_key[uid, child]
                self._forget(uid, child)
            freed[child] = None
        return tuple(freed)

    def devices(self, uid: str, child: str) -> int:
        """Devices that are held for a workload at a child."""
        held = self._by_key.get((uid, child), ())
        return sum(part.pods * part.gpus_per_pod for one in held for part in one.parts)

    def holds_at(self, child: str) -> bool:
        """Whether anything is held at a child."""
        return child in self._by_child

    def next_end(self) -> float:
        """When to call `expire` next, on its clock; infinite if nothing is held. What was cleared may count."""
        return self._ends[0][0] if self._ends else math.inf

    def only(self, place: str) -> Reservations:
        """A copy with what is held at one place, for looking at that place alone."""
        copy, child = Reservations(), child_of(place)
        for uid in self._by_child.get(child, ()):
            held = [one for one in self._by_key[uid, child] if one.place == place]
            if not held:
                continue
            copy._by_key[uid, child] = held
            copy._by_uid[uid] = {child}
            copy._by_child.setdefault(child, set()).add(uid)
            copy._count_held += len(held)
        return copy

    def blocked(self, snapshot: Snapshot, wish: GpuWish, size: int) -> Ints:
        """Pods of `size` devices that reservations may cost, per slot."""
        return self._view(snapshot, (wish, size))

    def cpu(self, snapshot: Snapshot) -> Ints:
        """Reserved CPU in millis, per slot."""
        return self._view(snapshot, (None, 0))

    def memory(self, snapshot: Snapshot) -> Ints:
        """Reserved memory in MiB, per slot."""
        return self._view(snapshot, (None, 1))

    # inside

    def _forget(self, uid: str, child: str) -> None:
        for index, key, value in ((self._by_uid, uid, child), (self._by_child, child, uid)):
            index[key].discard(value)
            if not index[key]:
                del index[key]

    def _view(self, snapshot: Snapshot, key: tuple[GpuWish | None, int]) -> Ints:
        """Kept between calls and corrected by each change, as counting everything anew would cost too much."""
        if self._seen[0] is not snapshot or self._seen[1] != snapshot.layout:
            self._views.clear()
            self._seen = (snapshot, snapshot.layout)
            self._slot_of = {place.name: snapshot.slot(place.name) or 0 for place in snapshot}
            for place in snapshot:  # where a hub's place is gone, any other of that hub has to answer for it
                self._slot_of.setdefault(child_of(place.name), self._slot_of[place.name])
        view = self._views.pop(key, None)
        if view is None:
            view = np.zeros(snapshot.slots, dtype=np.int64)
            for held in self._by_key.values():
                for one in held:
                    slot = self._slot_of.get(one.place, self._slot_of.get(one.child))
                    if slot is not None:
                        view[slot] += _cost(one, key)
        self._views[key] = view
        if len(self._views) > _MAX_VIEWS:
            self._views.popitem(last=False)
        return view

    def _count(self, one: Reservation, sign: int) -> None:
        self.version += 1
        self._count_held += sign
        self.ended += sign < 0
        if not self._views:
            return
        slot = self._slot_of.get(one.place, self._slot_of.get(one.child))
        if slot is not None:
            for key, view in self._views.items():
                view[slot] += sign * _cost(one, key)


def held_parts(demand: Demand, replicas: int) -> tuple[Held, ...]:
    """What `replicas` pods of a demand take. A whole demand counts in full."""
    groups = demand.merged
    pods = (replicas,) if len(groups) == 1 else tuple(group.replicas for group in groups)
    return tuple(
        Held(group.gpu, group.gpus_per_pod, count, group.cpu_millis, group.memory_mib)
        for group, count in zip(groups, pods, strict=True)
        if count > 0
    )


def _cost(one: Reservation, key: tuple[GpuWish | None, int]) -> int:
    wish, size = key
    if wish is None:
        return sum(part.pods * (part.memory_mib if size else part.cpu_millis) for part in one.parts)
    return sum(
        part.pods * -(-part.gpus_per_pod // size)
        for part in one.parts
        if part.wish is not None and part.wish.overlaps(wish)
    )
