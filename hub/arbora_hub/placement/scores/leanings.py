"""Further scorers, weight 0 unless a placement asks: balance, steady, free, binpack, locality, staleness."""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Bools, Floats
from arbora_hub.placement.blocks import fraction
from arbora_hub.placement.filters.taints import bearing
from arbora_hub.placement.rows import Place
from arbora_hub.placement.scores.fitness import transfer
from arbora_hub.placement.world import World


class Balance:
    """The emptier in proportion, the better."""

    name = "balance"
    weight = 0.0
    missing = "how full it is"

    def scores(self, world: World) -> Floats:
        """See Scorer: free devices as a percentage of those offered."""
        if world.leader is None:
            return np.full(world.snapshot.slots, np.nan)
        offered = world.total(world.snapshot.numbers("allocatable")[world.rows])
        return 100.0 * fraction(np.maximum(0, world.room.free), offered, np.nan)


class Steady:
    """Children that have the workload now."""

    name = "steady"
    weight = 0.0
    missing = ""

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        return np.where(world.present, 100.0, 0.0)


class FreeGpus:
    """The most free devices, reservations taken off; 100 for the child with the most."""

    name = "free"
    weight = 0.0
    missing = "its free GPUs"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        if world.leader is None:
            return np.full(world.snapshot.slots, np.nan)
        most = int(world.room.free.max(initial=0))
        return 100.0 * world.room.free / most if most > 0 else np.zeros(world.snapshot.slots)


class BinPack:
    """The least left in pieces once the pods stand there."""

    name = "binpack"
    weight = 0.0
    missing = "its free GPUs"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        if world.leader is None:
            return np.full(world.snapshot.slots, np.nan)
        return 100.0 * (1.0 - world.stranded)


class Locality:
    """Where the data is."""

    name = "locality"
    weight = 0.0
    missing = ""

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        return 100.0 * transfer(world)


class Freshness:
    """The newer the report, the better."""

    name = "staleness"
    weight = 0.0
    missing = ""

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        return 100.0 * freshness(world)


def soft_tainted(world: World) -> Bools:
    """Per slot, whether a PreferNoSchedule taint is not tolerated: such a child ranks behind all others."""
    tolerations = world.request.policy.tolerations
    return world.snapshot.column(
        ("PreferNoSchedule", tolerations),
        lambda place, rows: bool(place.taints and bearing(place.taints, tolerations, "PreferNoSchedule")),
        np.bool_,
        False,
    )


def freshness(world: World) -> Floats:
    """Per slot, 1 up to one report interval of age, falling to .5 at three."""

    def rate(place: Place, rows: object) -> float:
        late = (place.age - place.interval) / (2.0 * place.interval)
        return 1.0 - 0.5 * min(1.0, max(0.0, late))

    return world.snapshot.column("freshness", rate, np.float64, 1.0)
