"""Divide replicas over chosen children: weighted, available, pack, spread. Pure.

    weighted    votes are the weights, what a child has counts as seats
    available   votes are the room of each child, only what is added is apportioned
    pack        the fewest children that can hold it, best ranked first
    spread      equal votes, what a child has counts as seats

Never above a child's room. `duplicate` divides nothing; it is in `steady.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.candidates import Candidates
from arbora_hub.placement.spreading import Grouping, evenly, pick
from arbora_hub.placement.webster import webster


def divide(
    mode: str,
    among: Candidates,
    units: int,
    weights: Ints,
    *,
    seeds: Sequence[int] = (),
    groupings: Sequence[Grouping] = (),
) -> Ints:
    """Units added per candidate; fewer than `units` in all where there is no more room.

    weights: per candidate, for `weighted`. seeds: positions that get a unit first if they have none.
    groupings: spread constraints over the candidates.
    """
    room = among.limited(max(0, units))
    if units <= 0 or len(among) == 0:
        return np.zeros(len(among), dtype=np.int64)
    votes, seats = _votes(mode, among, weights, units)
    if groupings:
        given = evenly(
            votes.tolist(), units, room.tolist(), among.held.tolist(), seeds, among.ties.tolist(), groupings
        )
        return np.array(given, dtype=np.int64)
    first = np.zeros(len(among), dtype=np.int64)
    for position in list(seeds)[:units]:
        if among.held[position] == 0 and room[position] > 0:
            first[position] = 1
    rest = units - int(first.sum())
    if mode == "pack":
        return first + _packed(among, rest, room - first)
    return first + webster(votes, rest, caps=room - first, held=seats + first, ties=among.ties)


def _votes(mode: str, among: Candidates, weights: Ints, units: int) -> tuple[Ints, Ints]:
    nothing = np.zeros(len(among), dtype=np.int64)
    if mode == "weighted":
        return weights, among.held
    if mode == "spread":
        return np.ones(len(among), dtype=np.int64), among.held
    if mode == "pack":
        # only used under spread constraints, where all children of a rank must not be filled evenly
        return np.maximum(1, among.room), nothing
    return among.room, nothing


def _packed(among: Candidates, units: int, room: Ints) -> Ints:
    """Fill children that have some already, then the fewest others that hold the rest."""
    given = np.zeros(len(among), dtype=np.int64)
    for position in np.flatnonzero(among.held > 0).tolist():
        given[position] = min(int(room[position]), units)
        units -= int(given[position])
    if units <= 0:
        return given
    fresh = np.flatnonzero((among.held == 0) & (room > 0))
    sizes = np.minimum(room[fresh], units)
    count = fewest(sizes, units)
    for index in pick(sizes.tolist(), count, units):
        position = int(fresh[index])
        given[position] = min(int(room[position]), units)
        units -= int(given[position])
    return given


def fewest(room: Ints, units: int) -> int:
    """The least number of children that can hold `units`; all of them if none can."""
    reached = np.cumsum(np.sort(room)[::-1])
    return min(int(np.searchsorted(reached, units)) + 1, len(room)) if len(room) else 0


def shrunk(mode: str, among: Candidates, units: int, groupings: Sequence[Grouping] = ()) -> Ints:
    """What candidates keep when only `units` are to stay: in proportion, or `pack` empties the smallest first."""
    if mode == "pack":
        kept = np.zeros(len(among), dtype=np.int64)
        for position in np.lexsort((np.arange(len(among)), -among.held)).tolist():
            kept[position] = min(int(among.held[position]), units)
            units -= int(kept[position])
        return kept
    if groupings:
        zeros = [0] * len(among)
        held = among.held.tolist()
        return np.array(evenly(held, units, held, zeros, (), among.ties.tolist(), groupings), dtype=np.int64)
    return webster(among.held, units, caps=among.held, ties=among.ties)
