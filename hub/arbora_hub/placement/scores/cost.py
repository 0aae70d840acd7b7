"""Cost: the cheapest child is 100, others in proportion.

    cost = GPUs x price x hours / hw + egress GiB x price;  C = 100 x least cost / cost

A class without a price in one child is taken to cost the median of that class elsewhere, else the median of all;
without any price nothing is known. Spot interruptions are already in a row's price (`cost.py` of this package).
"""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Floats, Ints
from arbora_hub.placement.world import World


class Cost:
    """See the module."""

    name = "cost"
    weight = 0.20
    missing = "its prices"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        request, fits = world.request, world.room.pods > 0
        key = (self.name, world.size, request.demand.gpus, request.hours, request.egress_gib, fits.tobytes())
        return world.serving.kept(key, lambda: self._scores(world))

    def _scores(self, world: World) -> Floats:
        snapshot, leader = world.snapshot, world.leader
        egress = snapshot.column(
            "egress",
            lambda place, rows: np.nan if place.egress_price is None else place.egress_price,
            np.float64,
            np.nan,
        )
        moved = np.where(np.isnan(egress), 0.0, egress) * world.request.egress_gib
        if leader is None:
            if world.request.egress_gib <= 0 or np.isnan(egress).all():
                return np.full(snapshot.slots, np.nan)
            return _against_least(np.where(np.isnan(egress), np.nan, moved), world)
        price = world.mean(_filled(snapshot.floats("price")[world.rows], snapshot.class_ids[world.rows]))
        faster = world.speed
        hours = world.request.hours / np.where(np.isnan(faster) | (faster <= 0), 1.0, faster)
        return _against_least(world.request.demand.gpus * price * hours + moved, world)


def _filled(prices: Floats, classes: Ints) -> Floats:
    known = ~np.isnan(prices)
    if known.all() or not known.any():
        return prices
    filled = np.where(known, prices, np.median(prices[known]))
    for each in np.unique(classes[~known]):
        same = known & (classes == each)
        if same.any():
            filled[~known & (classes == each)] = np.median(prices[same])
    return filled


def _against_least(cost: Floats, world: World) -> Floats:
    usable = (world.room.pods > 0) & ~np.isnan(cost)
    if not usable.any():
        usable = ~np.isnan(cost)
    if not usable.any():
        return cost
    least = cost[usable].min()
    with np.errstate(over="ignore"):  # a price of next to nothing: infinitely better is 100 as well
        rated = np.divide(100.0 * least, cost, out=np.full(len(cost), 100.0), where=cost > 0)
    return np.where(np.isnan(cost), np.nan, np.minimum(100.0, rated))
