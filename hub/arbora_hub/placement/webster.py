"""Apportionment by Webster's method (Sainte-Lague), with caps. Pure.

The next seat goes to the largest votes / (2 x seats + 1). It is house monotone: one seat more never takes a seat
away elsewhere, which largest remainders do not promise. Ties go to fewer seats, then to the smaller `ties`.

    9 over 1:3 -> 2,7    10 over 50:30:15:5 -> 5,3,1,1    5 over 97:1:1:1 -> 5,0,0,0    12 over 18:12:6 -> 6,4,2
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from arbora_hub.placement.arrays import LOTS, Ints


def webster(
    votes: Ints | Sequence[int],
    seats: int,
    *,
    caps: Ints | Sequence[int] | None = None,
    held: Ints | Sequence[int] | None = None,
    ties: Ints | Sequence[int] | None = None,
) -> Ints:
    """Seats added per party; fewer than `seats` in all where the caps of parties with votes are reached.

    caps: the most seats to add. held: seats that each party has already. ties: unique; by default positions.
    """
    weight = np.asarray(votes, dtype=np.int64)
    count = len(weight)
    limit = np.full(count, LOTS, dtype=np.int64) if caps is None else np.asarray(caps, dtype=np.int64)
    before = np.zeros(count, dtype=np.int64) if held is None else np.asarray(held, dtype=np.int64)
    order = np.arange(count, dtype=np.int64) if ties is None else np.asarray(ties, dtype=np.int64)
    added = np.zeros(count, dtype=np.int64)
    limit = np.where(weight > 0, np.maximum(0, limit), 0)
    seats = min(seats, int(np.minimum(limit, max(0, seats)).sum()))
    if seats <= 0:
        return added
    sure = _sure(weight, seats, limit, before)
    added += sure
    left = seats - int(sure.sum())
    open_ = np.flatnonzero(added < limit)
    if left and len(open_) > left:
        open_ = _front(weight, before + added, open_, left)
    heap = [
        (-votes_ / (2 * have + 1), have, tie, position)
        for votes_, have, tie, position in zip(
            weight[open_].tolist(),
            (before + added)[open_].tolist(),
            order[open_].tolist(),
            open_.tolist(),
            strict=True,
        )
    ]
    heapq.heapify(heap)
    caps_, gained = limit.tolist(), added.tolist()
    for _ in range(left):
        _, have, tie, position = heap[0]
        gained[position] += 1
        if gained[position] < caps_[position]:
            heapq.heapreplace(heap, (-int(weight[position]) / (2 * have + 3), have + 1, tie, position))
        else:
            heapq.heappop(heap)
    return np.array(gained, dtype=np.int64)


def _front(weight: Ints, have: Ints, open_: Ints, seats: int) -> Ints:
    """Only parties whose first quotient is among the `seats` largest can win any of them."""
    quotient = weight[open_] / (2 * have[open_] + 1)
    bar = np.partition(quotient, len(quotient) - seats)[len(quotient) - seats]
    return np.asarray(open_[quotient >= bar], dtype=np.int64)


def _sure(weight: Ints, seats: int, limit: Ints, before: Ints) -> Ints:
    """Seats that are won in any case, so that few are left to give one by one.

    All quotients above a bar are served before any at or below it. The bar is searched by halves; a quotient
    counts only if it lies above the bar when computed just as in `webster`, so rounding gives no seat too many.
    """
    none = np.zeros(len(weight), dtype=np.int64)
    if seats < 64:
        return none
    low, high = 0.0, float(weight.max())
    best = none
    for _ in range(48):
        bar = (low + high) / 2
        # the n-th seat (from 0) has the quotient weight / (2 n + 1)
        total = np.ceil((weight / bar - 1) / 2).astype(np.int64) if bar > 0 else none
        total = np.where((total > 0) & ~(weight / (2 * np.maximum(total, 1) - 1) > bar), total - 1, total)
        won = np.clip(total - before, 0, limit)
        if int(won.sum()) <= seats:
            high, best = bar, won
        else:
            low = bar
    return best
