"""One decision's view: the request, the snapshot, what is placed and what is reserved. Pure.

Filters and scores read columns from it; what several of them need is computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from arbora_hub.placement.arrays import Bools, Floats, Ints
from arbora_hub.placement.blocks import allotted, fraction, stranded
from arbora_hub.placement.capacity import Room, room, summed
from arbora_hub.placement.demand import PodGroup
from arbora_hub.placement.policy import Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.snapshot import Serving, Snapshot, mixed
from arbora_hub.placement.speeds import speed_of


class World:
    """What filters and scores may know. Columns are per slot unless they say otherwise."""

    def __init__(
        self,
        request: Request,
        snapshot: Snapshot,
        previous: Mapping[str, int],
        reservations: Reservations,
        now: float,
    ) -> None:
        """previous: child -> replicas that it has now. now: seconds, on the clock of the taints."""
        self.request = request
        self.snapshot = snapshot
        self.previous = previous
        self.reservations = reservations
        self.now = now

    @cached_property
    def room(self) -> Room:
        """What each child can take."""
        there = room(self.snapshot, self.request, self.reservations)
        if not self.request.rebalance or not self.previous:
            return there
        # whatever this workload has may be used again: each pod leaves a place for one just like it
        held, demand = self.held, self.request.demand
        if demand.whole:
            return replace(there, pods=np.where(held >= demand.replicas, held, there.pods))
        devices = held * (demand.merged[0].gpus_per_pod if demand.merged else 0)
        return replace(there, pods=there.pods + held, free=there.free + devices)

    @cached_property
    def held(self) -> Ints:
        """Replicas that each child has now; all that a hub has stand at its widest place."""
        held = np.zeros(self.snapshot.slots, dtype=np.int64)
        for child, replicas in self.previous.items():
            for slot in self.snapshot.slots_of(child)[:1]:
                held[slot] = replicas
        return held

    @cached_property
    def present(self) -> Bools:
        """Children that have the workload now, were it with 0 replicas."""
        present = np.zeros(self.snapshot.slots, dtype=np.bool_)
        for child in self.previous:
            for slot in self.snapshot.slots_of(child)[:1]:
                present[slot] = True
        return present

    @cached_property
    def ties(self) -> Ints:
        """A different order of equal children for each workload."""
        return np.asarray(
            mixed(self.request.uid, self.snapshot.hashes()) >> np.uint64(1), dtype=np.uint64
        ).astype(np.int64)

    @cached_property
    def leader(self) -> PodGroup | None:
        """The pods with the most GPUs: those that scores look at. None: nothing asks for GPUs."""
        groups = self.request.demand.merged
        return groups[0] if groups and groups[0].gpu is not None else None

    @cached_property
    def serving(self) -> Serving:
        """Rows that serve the leader; without one, all rows."""
        return self.snapshot.serving(self.leader.gpu if self.leader is not None else None)

    @property
    def rows(self) -> Ints:
        """Positions of those rows."""
        return self.serving.rows

    @property
    def owner(self) -> Ints:
        """Slot of each of `rows`."""
        return self.serving.owner

    @cached_property
    def row_fit(self) -> Ints:
        """Per row of `rows`, pods of the leader; 1 each where nothing asks for GPUs."""
        if self.leader is None:
            return np.ones(len(self.rows), dtype=np.int64)
        return self.serving.fit(self.leader.gpus_per_pod)

    @cached_property
    def pods(self) -> Ints:
        """Pods of the leader that each child would take: all of them, or as many as there is room for."""
        wanted = self.leader.replicas if self.leader is not None else self.request.demand.replicas
        return np.minimum(np.where(self.room.pods > 0, self.room.pods, 1), wanted)

    @property
    def size(self) -> int:
        """Devices of a pod of the leader; 0: there is none."""
        return self.leader.gpus_per_pod if self.leader is not None else 0

    @cached_property
    def stranded(self) -> Floats:
        """The fraction of free devices in pieces, once those pods stand where they leave least free."""
        return self.serving.kept(("stranded", self.size, self.pods.tobytes()), self._stranded)

    def _stranded(self) -> Floats:
        size = self.size
        placed = allotted(self.owner, self.row_fit, self.pods) if size else self.row_fit
        free = self.snapshot.numbers("free")[self.rows] - placed * size
        return fraction(
            self.total(stranded(self.serving.bins, self.serving.in_pieces(), size, placed)), self.total(free)
        )

    @cached_property
    def speed(self) -> Floats:
        """Of the classes asked for, against the fastest that fits anywhere; NaN where not known."""
        return self.serving.kept(("speed", self.size), self._speed)

    def _speed(self) -> Floats:
        table = np.array([np.nan, *(speed_of(each) for each in self.snapshot.classes)])
        speeds = table[self.snapshot.class_ids[self.rows]]
        feasible = speeds[(self.row_fit > 0) & ~np.isnan(speeds)]
        if len(feasible) == 0:
            return np.full(self.snapshot.slots, np.nan)
        return self.mean(np.minimum(1.0, speeds / feasible.max()))

    def total(self, values: Ints) -> Ints:
        """Values of `rows`, added up per slot."""
        return summed(self.owner, values, self.snapshot.slots)

    def mean(self, values: Floats) -> Floats:
        """Values of `rows` per slot, weighed by how many pods fit where; NaN where none is known."""
        known = ~np.isnan(values)
        weight = np.where(known, self.row_fit, 0).astype(np.float64)
        slots = self.snapshot.slots
        part = np.bincount(self.owner, weight * np.where(known, values, 0.0), minlength=slots)
        return fraction(part, np.bincount(self.owner, weight, minlength=slots), np.nan)
