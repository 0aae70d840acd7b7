"""Spread over groups: which groups are really used, and how even they are kept. Pure.

A group is a value of a label. The skew is the distance between a group and the smallest group that may be used;
it counts replicas where they are divided, children where each runs all. Several constraints hold at once: units
are given one by one, each where no constraint forbids it; with two or more constraints that may place fewer than
the best conceivable order would.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arbora_hub.placement.arrays import Bools, Ints
from arbora_hub.placement.policy import DO_NOT_SCHEDULE, Spread

MAX_TRIES = 32
"""Numbers of groups tried at most."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """One constraint over the candidates."""

    spread: Spread
    of: tuple[int, ...]
    """Group of each candidate, 0 and up in the order of their best member."""

    @property
    def binding(self) -> bool:
        """Whether nothing is placed rather than against it."""
        return self.spread.when_unsatisfiable == DO_NOT_SCHEDULE

    @property
    def count(self) -> int:
        """Groups."""
        return max(self.of, default=-1) + 1


def grouping(spread: Spread, values: Ints) -> Grouping:
    """Number the groups. values: per candidate in rank order, equal for equal label values."""
    numbers: dict[int, int] = {}
    return Grouping(spread, tuple(numbers.setdefault(value, len(numbers)) for value in values.tolist()))


def pick(room: Sequence[int], count: int, target: int) -> list[int]:
    """`count` positions whose room reaches `target` if any do, the best ranked as far as possible, in rank order.

    Starts with the first ones. While they are too small, the last of them gives way to the best ranked outsider
    that is enough, else to the largest; so a choice that is possible is found.
    """
    chosen = list(range(min(count, len(room))))
    have = sum(room[position] for position in chosen)
    if have >= target or len(chosen) == len(room):
        return chosen
    outside = range(len(chosen), len(room))
    largest = sorted(outside, key=lambda position: (-room[position], position))
    used = 0
    for place in range(len(chosen) - 1, -1, -1):
        richest = largest[used]
        need = target - (have - room[chosen[place]])
        if room[richest] >= need:
            spent = set(largest[:used])
            chosen[place] = next(each for each in outside if room[each] >= need and each not in spent)
            return sorted(chosen)
        if room[richest] > room[chosen[place]]:
            have += room[richest] - room[chosen[place]]
            chosen[place] = richest
            used += 1
            if used == len(largest):
                break
    # one that gave way may be larger than one that stayed, so in the end take the largest of all
    return sorted(sorted(range(len(room)), key=lambda position: (-room[position], position))[: len(chosen)])


def groups_used(one: Grouping, room: Sequence[int], target: int, limit: int | None) -> tuple[Bools, str]:
    """Which candidates stay once the groups are chosen, and what is wrong (empty: nothing).

    room: per candidate, the units it can take. target: units wanted. limit: groups at most for other reasons.
    """
    spread = one.spread
    sizes = [0] * one.count
    for group, units in zip(one.of, room, strict=True):
        sizes[group] += units
    most = min(each for each in (spread.max_groups, limit, one.count) if each is not None)
    if most < spread.min_groups:
        what = f"{one.count} values of {spread.label} can take it, and {spread.min_groups} are asked for"
        return np.zeros(len(one.of), dtype=np.bool_), what if one.binding else ""
    chosen: list[int] = list(range(one.count))
    if most < one.count:
        best = -1
        least = max(1, spread.min_groups)
        for number in range(most, max(least, most - MAX_TRIES) - 1, -1):
            richest = sorted(range(one.count), key=lambda group: (-sizes[group], group))[:number]
            for tried in (pick(sizes, number, target), sorted(richest)):
                reach = (
                    _reach([sizes[group] for group in tried], spread)
                    if one.binding
                    else sum(sizes[group] for group in tried)
                )
                if min(reach, target) > best:
                    best, chosen = min(reach, target), tried
            if best >= target:
                break
    kept = set(chosen)
    return np.array([group in kept for group in one.of], dtype=np.bool_), ""


def _reach(sizes: Sequence[int], spread: Spread) -> int:
    """Units that fit under the skew."""
    ceiling = min(sizes, default=0) + spread.max_skew
    return sum(min(size, ceiling) for size in sizes)


def evenly(
    votes: Sequence[int],
    units: int,
    caps: Sequence[int],
    held: Sequence[int],
    seeds: Sequence[int],
    ties: Sequence[int],
    groupings: Sequence[Grouping],
) -> list[int]:
    """Webster's method, one unit at a time, each where no binding constraint forbids it; units added.

    held: units that candidates have; they count. seeds: candidates that get a unit first if they have none. A
    soft constraint is kept while it can be. Takes units x cells steps; a cell is candidates of the same groups.
    """
    added = [0] * len(votes)
    counts: list[Counter[int]] = [Counter() for _ in groupings]
    for position, have in enumerate(held):
        for count, one in zip(counts, groupings, strict=True):
            count[one.of[position]] += have
    cells: dict[tuple[int, ...], list[tuple[float, int, int, int]]] = {}
    for position, vote in enumerate(votes):
        cell = tuple(one.of[position] for one in groupings)
        heap = cells.setdefault(cell, [])
        if vote > 0 and caps[position] > 0:
            heap.append((-vote / (2 * held[position] + 1), held[position], ties[position], position))
    for heap in cells.values():
        heapq.heapify(heap)

    def least(index: int) -> int:
        return min(counts[index][group] for group in range(groupings[index].count))

    def give(cell: tuple[int, ...], entry: tuple[float, int, int, int]) -> None:
        _, have, tie, position = entry
        added[position] += 1
        for count, group in zip(counts, cell, strict=True):
            count[group] += 1
        if added[position] < caps[position]:
            heapq.heappush(cells[cell], (-votes[position] / (2 * have + 3), have + 1, tie, position))

    seeded = {position for position in seeds if held[position] == 0}
    for _ in range(units):
        lows = [least(index) for index in range(len(groupings))]
        best: tuple[bool, bool, float, int, int, int] | None = None
        where: tuple[int, ...] = ()
        for cell, heap in cells.items():
            if not heap:
                continue
            over = [
                count[group] + 1 - low > one.spread.max_skew
                for count, group, low, one in zip(counts, cell, lows, groupings, strict=True)
            ]
            if any(beyond and one.binding for beyond, one in zip(over, groupings, strict=True)):
                continue
            waiting = next((entry for entry in heap if entry[3] in seeded), None) if seeded else None
            quotient, have, tie, position = waiting or heap[0]
            entry = (any(over), waiting is None, quotient, have, tie, position)
            if best is None or entry < best:
                best, where = entry, cell
        if best is None:
            break
        chosen = best[2:]
        seeded.discard(best[5])
        cells[where].remove(chosen)
        heapq.heapify(cells[where])
        give(where, chosen)
    return added


def children_evenly(count: int, present: Sequence[bool], groupings: Sequence[Grouping]) -> list[int]:
    """Up to `count` candidates in rank order, those present first, so that no binding constraint is broken.

    min_groups are served first: a candidate of a group that has none goes before others of its rank.
    """
    chosen: list[int] = []
    counts: list[Counter[int]] = [Counter() for _ in groupings]
    left = sorted(range(len(present)), key=lambda position: (not present[position], position))
    while left and len(chosen) < count:
        best: tuple[bool, bool, int] | None = None
        lows = [
            min(tally[group] for group in range(one.count)) for tally, one in zip(counts, groupings, strict=True)
        ]
        for rank, position in enumerate(left):
            over = [
                tally[one.of[position]] + 1 - low > one.spread.max_skew
                for tally, one, low in zip(counts, groupings, lows, strict=True)
            ]
            if not present[position] and any(
                beyond and one.binding for beyond, one in zip(over, groupings, strict=True)
            ):
                continue
            fresh = any(
                tally[one.of[position]] == 0 and sum(1 for each in tally.values() if each) < one.spread.min_groups
                for tally, one in zip(counts, groupings, strict=True)
            )
            entry = (not present[position] and not fresh, any(over) and not present[position], rank)
            if best is None or entry < best:
                best = entry
            if entry[:2] == (False, False):
                break
        if best is None:
            break
        position = left.pop(best[2])
        chosen.append(position)
        for tally, one in zip(counts, groupings, strict=True):
            tally[one.of[position]] += 1
    return chosen
