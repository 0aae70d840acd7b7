"""Can the child run it? API kinds, hard claims, GPU class, room, quota."""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Ints
from arbora_hub.placement.policy import Request
from arbora_hub.placement.rows import CLAIM_LEVELS, Place
from arbora_hub.placement.world import World

HARD_LEVEL = 0.8
"""What a hard claim must be worth: attested or observed, not only declared."""


class Kinds:
    """Serves the API kinds that are asked for."""

    name = "kinds"
    codes = ("NO_KIND", "KINDS_UNKNOWN")
    lasting = False

    def applies(self, request: Request) -> bool:
        """Where kinds are required."""
        return bool(request.policy.kinds)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        needed = frozenset(world.request.policy.kinds)

        def judge(place: Place, rows: object) -> int:
            return 2 if place.kinds is None else int(not needed <= place.kinds)

        return world.snapshot.column(("kinds", needed), judge, np.int64, 0)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        kinds = world.snapshot.place(slot).kinds
        if kinds is None:
            return "has not said which API kinds it serves"
        return f"does not serve {', '.join(sorted(set(world.request.policy.kinds) - kinds))}"


class HardClaims:
    """Proves what it must prove."""

    name = "compliance"
    codes = ("NOT_COMPLIANT",)
    lasting = True

    def applies(self, request: Request) -> bool:
        """Where a claim is hard."""
        return any(claim.hard for claim in request.policy.claims)

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        needed = frozenset(claim.name for claim in world.request.policy.claims if claim.hard)
        return world.snapshot.column(
            ("hard claims", needed), lambda place, rows: int(bool(_unproven(place, needed))), np.int64, 0
        )

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        needed = frozenset(claim.name for claim in world.request.policy.claims if claim.hard)
        return f"does not prove {', '.join(_unproven(world.snapshot.place(slot), needed))}"


def _unproven(place: Place, needed: frozenset[str]) -> list[str]:
    return sorted(name for name in needed if CLAIM_LEVELS.get(place.claims.get(name, ""), 0.0) < HARD_LEVEL)


class GpuClasses:
    """Has devices of every class that is asked for."""

    name = "gpu-class"
    codes = ("NO_SUCH_GPU",)
    lasting = False

    def applies(self, request: Request) -> bool:
        """Where GPUs are asked for."""
        return request.demand.gpus > 0

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        return np.where(world.room.serves, 0, 1)

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        wishes = {str(group.gpu) for group in world.request.demand.merged if group.gpu is not None}
        return f"has no {' or no '.join(sorted(wishes))}"


class Fit:
    """Has room for at least one replica, or for all of them where they go together."""

    name = "fit"
    codes = ("FULL", "IN_PIECES", "RESERVED", "NO_CPU_OR_MEMORY", "QUOTA")
    lasting = False

    def applies(self, request: Request) -> bool:
        """Where there are pods."""
        return request.demand.replicas > 0

    def verdicts(self, world: World) -> Ints:
        """See Filter."""
        there, demand = world.room, world.request.demand
        needed = unit(world.request)
        verdicts = np.zeros(world.snapshot.slots, dtype=np.int64)
        short = there.pods < needed
        if not short.any():
            return verdicts
        group = demand.merged[0]
        devices = demand.gpus if needed > 1 else group.gpus_per_pod
        verdicts[short] = 4
        if group.gpu is not None:
            size = group.gpus_per_pod
            fit = world.total(world.row_fit)
            verdicts[short & (fit < (group.replicas if needed > 1 else 1))] = 2
            verdicts[short & (there.free < max(devices, size))] = 1
        verdicts[short & (there.unreserved >= needed)] = 3
        if world.request.quota:
            for child, left in world.request.quota.items():
                for slot in world.snapshot.slots_of(child):
                    if short[slot] and left < devices:
                        verdicts[slot] = 5
        return verdicts

    def sentence(self, world: World, slot: int, code: str) -> str:
        """See Filter."""
        there, demand = world.room, world.request.demand
        group = demand.merged[0]
        size = group.gpus_per_pod
        pods = unit(world.request)
        what = f"{pods} pods of {size} GPUs" if pods > 1 else f"a pod of {size} GPUs"
        free = int(there.free[slot])
        match code:
            case "FULL":
                return f"has {free} free GPUs, too few for {what}"
            case "IN_PIECES":
                return f"has {free} free GPUs, but in pieces too small for {what}"
            case "RESERVED":
                return f"has room for {what}, but it is reserved for work on its way there"
            case "QUOTA":
                return f"may give this queue {world.request.quota[world.snapshot.place(slot).child]} more GPUs"
            case _:
                return "has too little free CPU or memory"


def unit(request: Request) -> int:
    """Replicas that a child must be able to take to be of any use."""
    demand = request.demand
    if demand.whole or request.policy.mode == "duplicate":
        return demand.replicas
    return 1 if demand.replicas else 0
