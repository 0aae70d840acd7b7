"""Compliance and topology: does it prove what is wished, how near are pods to each other and to the data?

K = 100 sum(w s) / sum w; s = 1 attested, .8 observed, .5 declared, 0 not at all; nothing wished: 100
T = 100 (.5 min(1, domain fit / pods) + .3 min(1, 60 s / transfer) + .2 / (1 + hops))

What is not known of T is left out, and the rest counts for more.
"""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Floats
from arbora_hub.placement.rows import CLAIM_LEVELS, Place
from arbora_hub.placement.scores.performance import weighed
from arbora_hub.placement.world import World

TRANSFER_SECONDS = 60.0


class Compliance:
    """See the module."""

    name = "compliance"
    weight = 0.15
    missing = "its claims"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        claims = tuple((one.name, one.weight) for one in world.request.policy.claims if one.weight > 0)
        if not claims:
            return np.full(world.snapshot.slots, 100.0)
        whole = sum(weight for _, weight in claims)

        def rate(place: Place, rows: object) -> float:
            got = sum(weight * CLAIM_LEVELS.get(place.claims.get(name, ""), 0.0) for name, weight in claims)
            return 100.0 * got / whole

        return world.snapshot.column(("claims", claims), rate, np.float64, 0.0)


class Topology:
    """See the module."""

    name = "topology"
    weight = 0.10
    missing = "its GPU domains and its place in the tree"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        replicas = world.leader.replicas if world.leader is not None else 0
        key = (self.name, world.size, replicas, tuple(sorted(world.request.transfer_seconds.items())))
        return world.serving.kept(key, lambda: self._scores(world))

    def _scores(self, world: World) -> Floats:
        snapshot, leader = world.snapshot, world.leader
        hops = snapshot.column(
            "hops", lambda place, rows: np.nan if place.hops is None else float(place.hops), np.float64, np.nan
        )
        parts: list[tuple[float, Floats]] = [(0.2, 1.0 / (1.0 + hops))]
        if leader is not None:
            free = snapshot.floats("domain")[world.rows]
            fit = np.full(snapshot.slots, -1.0)
            known = ~np.isnan(free)
            np.maximum.at(fit, world.owner[known], free[known] // leader.gpus_per_pod)
            near = np.where(fit < 0, np.nan, np.minimum(1.0, fit / leader.replicas))
            parts.append((0.5, near))
        somewhere = ~np.isnan(parts[-1][1]) | ~np.isnan(hops)
        if world.request.transfer_seconds or somewhere.any():
            parts.append((0.3, transfer(world)))
        return weighed(parts)


def transfer(world: World) -> Floats:
    """Per slot, 1 where the data is there within a minute, less in proportion."""
    rates = np.ones(world.snapshot.slots)
    for child, seconds in world.request.transfer_seconds.items():
        for slot in world.snapshot.slots_of(child) if seconds > TRANSFER_SECONDS else ():
            rates[slot] = TRANSFER_SECONDS / seconds
    return rates
