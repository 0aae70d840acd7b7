"""Which candidates are used: how many children at most and at least, and in which groups. Pure.

all -> only the groups that spread constraints choose -> at most `clusters` of them, every chosen group served
    -> `Selected`, with the groupings over what is left, and the children that must get something
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.candidates import Candidates
from arbora_hub.placement.divide import fewest
from arbora_hub.placement.policy import Policy
from arbora_hub.placement.spreading import Grouping, grouping, groups_used, pick


@dataclass(frozen=True, slots=True)
class Selected:
    """The candidates that are used, in rank order."""

    among: Candidates
    groupings: tuple[Grouping, ...]
    seeds: tuple[int, ...]
    """Positions that must get a unit, so that as many children and groups as asked for are really used."""
    faults: tuple[str, ...]
    """Constraints that can't be met; with any, nothing new may be placed."""


def select(
    policy: Policy, among: Candidates, units: int, values_of: Callable[[str, Ints], Ints], *, children: bool
) -> Selected:
    """Narrow the candidates down.

    units: replicas that want a place. values_of: (label, slots) -> equal numbers for equal values.
    children: units are children (every one runs all), not replicas.
    """
    limit = policy.clusters
    faults: list[str] = []
    for spread in policy.spread:
        one = grouping(spread, values_of(spread.label, among.slots))
        room = [1] * len(among) if children else (among.limited(units) + among.held).tolist()
        target = (limit if limit is not None else len(among)) if children else units + int(among.held.sum())
        kept, fault = groups_used(one, room, target, limit)
        if fault:
            faults.append(fault)
            continue
        among = among.only(kept | among.present)
    groupings = tuple(grouping(each, values_of(each.label, among.slots)) for each in policy.spread)
    if limit is not None and not children and len(among) > limit:
        among = among.only(_limited(policy.mode, among, limit, units, groupings))
        groupings = tuple(grouping(each, values_of(each.label, among.slots)) for each in policy.spread)
    seeds = _seeds(policy, among, groupings)
    if len(among) < policy.minimum:
        faults.append(f"{len(among)} children can take it, and at least {policy.minimum} are asked for")
    if not children:
        wanted = units + int(among.held.sum())
        faults += [
            f"{wanted} replicas can't reach {one.spread.min_groups} values of {one.spread.label}"
            for one in groupings
            if one.binding and wanted < one.spread.min_groups
        ]
    return Selected(among, groupings, seeds, tuple(dict.fromkeys(faults)))


def _limited(mode: str, among: Candidates, limit: int, units: int, groupings: Sequence[Grouping]) -> Ints:
    """Positions of `limit` candidates: those with the workload, one per group, then what holds the rest."""
    room = among.limited(units)
    chosen = np.flatnonzero(among.present)[:limit].tolist()
    for one in groupings:
        served = {one.of[position] for position in chosen}
        for position, group in enumerate(one.of):
            if group not in served and len(chosen) < limit:
                served.add(group)
                chosen.append(position)
    taken = set(chosen)
    others = [position for position in range(len(among)) if position not in taken]
    missing = units - int(room[chosen].sum()) if chosen else units
    number = limit - len(chosen)
    if mode == "pack":
        number = min(number, fewest(room[others], missing) if missing > 0 else 0)
    found = pick([int(room[each]) for each in others], number, missing)
    chosen += [others[index] for index in found]
    return np.array(sorted(chosen), dtype=np.int64)


def _seeds(policy: Policy, among: Candidates, groupings: Sequence[Grouping]) -> tuple[int, ...]:
    """The best of each group until enough groups are served, then the best until enough children are."""
    if policy.minimum == 0 and not any(one.spread.min_groups for one in groupings):
        return ()
    usable = ((among.room > 0) | (among.held > 0)).tolist()
    seeds: list[int] = []
    for one in groupings:
        served = {one.of[position] for position in seeds}
        for position, group in enumerate(one.of):
            if len(served) >= one.spread.min_groups:
                break
            if group not in served and usable[position]:
                served.add(group)
                seeds.append(position)
    for position in range(len(among)):
        if len(seeds) >= policy.minimum:
            break
        if usable[position] and position not in seeds:
            seeds.append(position)
    return tuple(seeds)
