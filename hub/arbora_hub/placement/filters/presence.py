"""Is the child there, and does it take new work? Liveness and age, cordons, exclusions."""

from __future__ import annotations

import math

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.policy import Request
from arbora_hub.placement.rows import LOST, Place
from arbora_hub.placement.world import World

STALE_INTERVALS = 3.0
"""Capacity older than this many report intervals is not built on."""


class Liveness:
    """A child that is lost, or whose capacity is too old to build on, gets nothing new."""

    name = "liveness"
    codes = ("LOST", "STALE")
    lasting = False

    def applies(self, request: Request) -> bool:
        """Always."""
        return True

    def verdicts(self, world: World) -> Ints:
        """See Filter. Age only matters where GPUs are asked for: nothing else is read from a sketch alone."""
        lost_or_stale = world.snapshot.column("liveness", _liveness, np.int64, 0)
        if world.leader is not None:
            return lost_or_stale
        return np.where(lost_or_stale == 1, 1, 0)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        place = world.snapshot.place(slot)
        if code == "LOST":
            return "is lost"
        if math.isinf(place.age):
            return "has not reported its capacity since this hub started"
        return f"reported its capacity {place.age:.0f} s ago, more than {STALE_INTERVALS:.0f} intervals"


def _liveness(place: Place, rows: object) -> int:
    if place.liveness == LOST:
        return 1
    return 2 if place.age > STALE_INTERVALS * place.interval else 0


class Cordon:
    """An administrator closed the child for new work."""

    name = "cordon"
    codes = ("CORDONED",)
    lasting = False

    def applies(self, request: Request) -> bool:
        """Always."""
        return True

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        return world.snapshot.column("cordon", lambda place, rows: int(place.cordoned), np.int64, 0)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        return "is cordoned"


class Capped:
    """A child hub said that it can place no more than it has."""

    name = "capped"
    codes = ("CAPPED",)
    lasting = False

    def applies(self, request: Request) -> bool:
        """Where any child is capped."""
        return bool(request.caps)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        verdicts = np.zeros(world.snapshot.slots, dtype=np.int64)
        for child, most in world.request.caps.items():
            if most <= world.previous.get(child, 0):
                verdicts[list(world.snapshot.slots_of(child))] = 1
        return verdicts

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        most = world.request.caps[world.snapshot.place(slot).child]
        return f"said that it can place {most} of it, and is asked again when its capacity changes or time passes"


class Exclusion:
    """The workload is being evicted from there, or the child answered with a shortfall."""

    name = "exclusion"
    codes = ("EXCLUDED",)
    lasting = True

    def applies(self, request: Request) -> bool:
        """Where any child is excluded."""
        return bool(request.excluded)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        verdicts = np.zeros(world.snapshot.slots, dtype=np.int64)
        for child in world.request.excluded:
            for slot in world.snapshot.slots_of(child):
                verdicts[slot] = 1
        return verdicts

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        return world.request.excluded[world.snapshot.place(slot).child]
