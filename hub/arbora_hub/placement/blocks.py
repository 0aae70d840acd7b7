"""Arithmetic on histograms of free devices per node, whole columns at once. Pure.

A node with f free devices takes floor(f / q) pods of q devices. Element 16 of a histogram counts as 16 free.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from arbora.capacity.gpus import HISTOGRAM_BINS
from arbora_hub.placement.arrays import Floats, Ints

BLOCK = 8
"""Devices of a usual node: what is left in smaller pieces counts as stranded."""


def fits(bins: Ints, size: int) -> Ints:
    """Pods of `size` devices that fit, per row; each stands on one node. bins: element [f, row] counts nodes."""
    pods = np.zeros(bins.shape[1], dtype=np.int64)
    for free in range(size, HISTOGRAM_BINS):
        pods += bins[free] if free < 2 * size else bins[free] * (free // size)
    return pods


def allotted(owner: Ints, room: Ints, wanted: Ints) -> Ints:
    """What each row takes if every child fills its rows in their order.

    owner: slot per row, rows of a child side by side. room: pods per row. wanted: pods per slot.
    """
    if len(owner) == 0:
        return room
    before = np.cumsum(room) - room
    first = np.empty(len(owner), dtype=np.bool_)
    first[0] = True
    np.not_equal(owner[1:], owner[:-1], out=first[1:])
    at_first = before[first][np.cumsum(first) - 1]
    return np.asarray(np.clip(wanted[owner] - (before - at_first), 0, room), dtype=np.int64)


def taken(bins: Ints, size: int, pods: Ints) -> Ints:
    """The bins after `pods` pods of `size` devices, each on the node that it leaves least free (best fit).

    pods: per row, not more than fit.
    """
    after = bins.copy()
    for free, full, part in _used(bins, size, pods):
        after[free] -= full
        after[free % size] += full
        if part is not None:
            rows = np.flatnonzero(part)
            after[free, rows] -= 1
            after[free - part[rows] * size, rows] += 1
    return after


def in_pieces(bins: Ints, block: int = BLOCK) -> Ints:
    """Free devices in pieces smaller than a block, per row."""
    useless = np.zeros(bins.shape[1], dtype=np.int64)
    for free in range(1, HISTOGRAM_BINS):
        if free % block:
            useless += bins[free] * (free % block)
    return useless


def stranded(bins: Ints, before: Ints, size: int, pods: Ints, block: int = BLOCK) -> Ints:
    """`in_pieces` once those pods stand there, as `taken` places them. before: `in_pieces` of the bins."""
    if size == 0:
        return before
    useless = before.copy()
    for free, full, part in _used(bins, size, pods):
        change = free % size % block - free % block
        if change:
            useless += full * change
        if part is not None:
            useless += np.where(part > 0, (free - part * size) % block - free % block, 0)
    return useless


def _used(bins: Ints, size: int, pods: Ints) -> Iterator[tuple[int, Ints, Ints | None]]:
    """(free, nodes of that many free that are used up, pods on one more that is used in part), in rising order.

    The fullest nodes that still fit are used up first, so going through the free counts once in rising order is
    the same as placing pod after pod.
    """
    left = pods
    for free in range(size, HISTOGRAM_BINS):
        nodes = bins[free]
        each = free // size
        if each == 1:
            full, part = np.minimum(nodes, left), None
            left = left - full
        else:
            placed = np.minimum(nodes * each, left)
            left = left - placed
            full, part = np.divmod(placed, each)
        yield free, full, part


def fraction(part: Floats | Ints, whole: Floats | Ints, otherwise: float = 0.0) -> Floats:
    """part / whole, and `otherwise` where the whole is not above 0."""
    out = np.full(len(whole), otherwise)
    np.divide(part, whole, out=out, where=whole > 0)
    return out
