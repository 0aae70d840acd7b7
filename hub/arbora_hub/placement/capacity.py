"""How many replicas each child can take now: per-node fit, less reservations, CPU, memory and quota. Pure.

    single pods       fit(q) of the child's rows that serve, less what reservations may cost
    a gang            the same in one member: exact for a member, `best[q]` for a hub with several below
    pods of kinds     all or nothing: each kind fits, and those on the same GPUs fit together, largest first

It never says more than there is, as far as sketches tell. It is exact for one kind of pods, and for several where
the GPU counts divide one another (1, 2, 4, 8); else it may say less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arbora.capacity.sketch import BEST_SIZES
from arbora_hub.placement.arrays import LOTS, Bools, Ints
from arbora_hub.placement.blocks import allotted, fits, taken
from arbora_hub.placement.demand import Demand, PodGroup
from arbora_hub.placement.policy import Request
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Room:
    """Per slot."""

    pods: Ints
    """Replicas that can be added now."""
    unreserved: Ints
    """The same if nothing were reserved and no quota set: what will be there if nothing else comes."""
    free: Ints
    """Free devices of the classes asked for, less reservations; 0 where none are asked for."""
    serves: Bools
    """Has every class asked for."""


def room(snapshot: Snapshot, request: Request, reservations: Reservations) -> Room:
    """Size up every child for one request."""
    demand = request.demand
    slots = snapshot.slots
    groups = demand.merged
    serves = np.ones(slots, dtype=np.bool_)
    free = np.zeros(slots, dtype=np.int64)
    for group in groups:
        if group.gpu is not None:
            serving = snapshot.serving(group.gpu)
            rows, owner = serving.rows, serving.owner
            serves &= summed(owner, snapshot.numbers("total")[rows], slots) > 0
            here = summed(owner, snapshot.numbers("free")[rows], slots)
            free += np.maximum(0, here - reservations.blocked(snapshot, group.gpu, 1))
    if not groups:
        pods = bare = np.full(slots, LOTS, dtype=np.int64)
    elif demand.whole:
        pods = _whole(snapshot, demand, reservations)
        bare = _whole(snapshot, demand, _NOTHING) if len(reservations) else pods
    else:
        # a copy of all goes to one member, wherever a hub finds it
        bare = _bare_pods(snapshot, groups[0], one_member=request.policy.mode == "duplicate")
        pods = _less_reserved(snapshot, groups[0], bare, reservations)
    if request.quota:
        pods = np.minimum(pods, _quota(snapshot, request))
    return Room(pods, bare, free, serves)


def summed(owner: Ints, values: Ints, slots: int) -> Ints:
    """Values of rows added up per slot, exactly."""
    if len(owner) == slots and slots and owner[0] == 0 and (owner[1:] > owner[:-1]).all():
        return values
    total = np.zeros(slots, dtype=np.int64)
    np.add.at(total, owner, values)
    return total


def _bare_pods(snapshot: Snapshot, group: PodGroup, *, one_member: bool) -> Ints:
    """Pods of one kind per slot, with nothing reserved."""
    slots = snapshot.slots
    if group.gpu is None:
        return _without_gpus(snapshot, group)
    serving, size = snapshot.serving(group.gpu), group.gpus_per_pod
    rows, owner, fit = serving.rows, serving.owner, serving.fit(size)
    if one_member:
        several = snapshot.numbers("members")[rows] > 1
        if several.any():
            best = snapshot.best[rows, size - 1] if size <= BEST_SIZES else np.zeros(len(rows), dtype=np.int64)
            fit = np.where(several, np.minimum(fit, best), fit)
            fit = _largest_of_several(owner, fit, several)
    for per_pod, name in ((group.cpu_millis, "cpu"), (group.memory_mib, "memory")):
        if per_pod:
            there = snapshot.numbers(name)[rows]
            fit = np.minimum(fit, np.where(there < 0, LOTS, there // per_pod))
    return summed(owner, fit, slots)


def _largest_of_several(owner: Ints, fit: Ints, several: Bools) -> Ints:
    """In a hub the best rows of two classes may be in two different members: only the largest counts."""
    top = np.zeros(int(owner.max()) + 1 if len(owner) else 0, dtype=np.int64)
    np.maximum.at(top, owner, fit)
    kept = fit.copy()
    seen: set[int] = set()
    for row in np.flatnonzero(several).tolist():
        slot = int(owner[row])
        if slot in seen or fit[row] < top[slot]:
            kept[row] = 0
        else:
            seen.add(slot)
    return kept


def _less_reserved(snapshot: Snapshot, group: PodGroup, bare: Ints, reservations: Reservations) -> Ints:
    """For a gang below a hub everything reserved is taken to be in the member that is best."""
    if not len(reservations):
        return bare
    left = bare
    if group.gpu is not None:
        left = bare - reservations.blocked(snapshot, group.gpu, group.gpus_per_pod)
    for per_pod, name in ((group.cpu_millis, "cpu"), (group.memory_mib, "memory")):
        if per_pod:
            there, known = _sum_of(snapshot, group, name)
            reserved = reservations.cpu(snapshot) if name == "cpu" else reservations.memory(snapshot)
            left = np.minimum(left, np.where(known, (there - reserved) // per_pod, LOTS))
    return np.maximum(0, left)


def _sum_of(snapshot: Snapshot, group: PodGroup, name: str) -> tuple[Ints, Bools]:
    """CPU or memory over the rows that a group may use, and whether all of it is known."""
    serving = snapshot.serving(group.gpu)
    owner, there = serving.owner, snapshot.numbers(name)[serving.rows]
    unknown = summed(owner, (there < 0).astype(np.int64), snapshot.slots)
    known = unknown == 0
    if group.gpu is None:
        known &= _measured(snapshot)
    return summed(owner, np.maximum(0, there), snapshot.slots), known


def _without_gpus(snapshot: Snapshot, group: PodGroup) -> Ints:
    """Nodes without GPUs are only measured where a child has a row for them; elsewhere no limit is known."""
    pods = np.full(snapshot.slots, LOTS, dtype=np.int64)
    for per_pod, name in ((group.cpu_millis, "cpu"), (group.memory_mib, "memory")):
        if per_pod:
            there, known = _sum_of(snapshot, group, name)
            pods = np.minimum(pods, np.where(known, there // per_pod, LOTS))
    return pods


def _measured(snapshot: Snapshot) -> Bools:
    return snapshot.column(
        "plain nodes measured",
        lambda place, rows: any(row.gpu_class is None and row.cpu_known for row in rows),
        np.bool_,
        False,
    )


def _whole(snapshot: Snapshot, demand: Demand, reservations: Reservations) -> Ints:
    """All replicas where everything fits, else 0."""
    groups = demand.merged
    one_member = demand.gang and not demand.splittable
    fits_all = np.ones(snapshot.slots, dtype=np.bool_)
    for group in groups:
        bare = _bare_pods(snapshot, group, one_member=one_member)
        left = _less_reserved(snapshot, group, bare, reservations)
        fits_all &= left >= group.replicas
    if len(groups) > 1:
        fits_all &= _together(snapshot, groups, reservations, one_member=one_member)
    return np.where(fits_all, demand.replicas, 0)


def _together(
    snapshot: Snapshot, groups: tuple[PodGroup, ...], reservations: Reservations, *, one_member: bool
) -> Bools:
    """Whether kinds of pods that share GPUs, CPU or memory fit side by side."""
    slots = snapshot.slots
    possible = np.ones(slots, dtype=np.bool_)
    for name in ("cpu", "memory"):
        asked = sum(g.replicas * (g.cpu_millis if name == "cpu" else g.memory_mib) for g in groups)
        if asked:
            plain = any(group.gpu is None for group in groups)
            there, known = _sum_of(snapshot, groups[-1] if plain else groups[0], name)
            reserved = reservations.cpu(snapshot) if name == "cpu" else reservations.memory(snapshot)
            if plain or len({group.gpu for group in groups}) == 1:
                possible &= ~known | (there - reserved >= asked)
    bins = snapshot.serving(None).bins.copy()
    position = np.zeros(len(snapshot.owner), dtype=np.int64)
    position[snapshot.serving(None).rows] = np.arange(bins.shape[1])
    needed = np.zeros(slots, dtype=np.int64)
    for group in groups:  # most GPUs per pod first
        if group.gpu is None:
            continue
        serving, size = snapshot.serving(group.gpu), group.gpus_per_pod
        rows, owner = position[serving.rows], serving.owner
        wanted = group.replicas + reservations.blocked(snapshot, group.gpu, size)
        fit = fits(bins[:, rows], size)
        possible &= summed(owner, fit, slots) >= wanted
        placed = allotted(owner, fit, wanted)
        bins[:, rows] = taken(bins[:, rows], size, placed)
        if one_member:
            needed += -(-group.replicas // max(1, groups[0].gpus_per_pod // size))
    if one_member and all(group.gpu in (None, groups[0].gpu) for group in groups) and groups[0].gpu is not None:
        # below a hub the kinds must fit one member: count in blocks of the largest pod
        possible &= _less_reserved(
            snapshot,
            groups[0],
            _bare_pods(snapshot, groups[0], one_member=True),
            reservations,
        ) >= np.where(_several(snapshot), needed, 0)
    return possible


def _several(snapshot: Snapshot) -> Bools:
    return snapshot.column(
        "several members", lambda place, rows: any(row.sketch.members > 1 for row in rows), np.bool_, False
    )


def _quota(snapshot: Snapshot, request: Request) -> Ints:
    """Replicas that the queue's share of devices allows, per slot."""
    demand = request.demand
    allowed = np.full(snapshot.slots, LOTS, dtype=np.int64)
    if not demand.gpus:
        return allowed
    per_pod = demand.merged[0].gpus_per_pod
    for child, devices in request.quota.items():
        whole = demand.replicas if devices >= demand.gpus else 0
        for slot in snapshot.slots_of(child):
            allowed[slot] = whole if demand.whole else max(0, devices) // per_pod
    return allowed


_NOTHING = Reservations()
"""Never written to."""
