"""Resource: fill GPUs up, spread the rest, leave no pieces.

w_cpu 1, w_mem .8, w_gpu 5, only what is asked for and known;  u = (used + asked) / allocatable
s = u for GPUs ("pack"), 1 - u for the rest ("spread");        U = sum w s / sum w
R = 100 (.7 U + .3 (1 - stranded / free after best fit))       without GPUs: 100 U
"""

from __future__ import annotations

import numpy as np

from arbora_hub.placement.arrays import Floats
from arbora_hub.placement.blocks import fraction
from arbora_hub.placement.world import World

CPU_WEIGHT, MEMORY_WEIGHT, GPU_WEIGHT = 1.0, 0.8, 5.0


class Resource:
    """See the module."""

    name = "resource"
    weight = 0.30
    missing = "what its nodes offer and use"

    def scores(self, world: World) -> Floats:
        """See Scorer."""
        group = world.leader or (world.request.demand.merged or (None,))[0]
        asked = (group.gpus_per_pod, group.cpu_millis, group.memory_mib) if group is not None else ()
        key = (self.name, world.size, asked, world.pods.tobytes())
        return world.serving.kept(key, lambda: self._scores(world))

    def _scores(self, world: World) -> Floats:
        snapshot, leader = world.snapshot, world.leader
        slots = snapshot.slots
        parts, weights = np.zeros(slots), np.zeros(slots)
        if leader is not None:
            allocatable = world.total(snapshot.numbers("allocatable")[world.rows])
            used = allocatable - world.total(snapshot.numbers("free")[world.rows])
            asked = world.pods * leader.gpus_per_pod
            known = allocatable > 0
            filled = fraction(used + asked, allocatable)
            parts += GPU_WEIGHT * np.minimum(1.0, filled)
            weights += GPU_WEIGHT * known
        group = leader or (world.request.demand.merged or (None,))[0]
        if group is not None:
            for per_pod, weight, name in (
                (group.cpu_millis, CPU_WEIGHT, "cpu"),
                (group.memory_mib, MEMORY_WEIGHT, "memory"),
            ):
                if not per_pod:
                    continue
                offered = np.bincount(
                    world.owner, snapshot.floats(f"{name}_allocatable")[world.rows], minlength=slots
                )
                free = world.total(snapshot.numbers(name)[world.rows])
                known = (offered > 0) & (free >= 0)  # NaN compares as False
                left = np.divide(free - world.pods * per_pod, offered, out=np.zeros(slots), where=known)
                parts += weight * np.clip(left, 0.0, 1.0) * known
                weights += weight * known
        used_well = fraction(parts, weights, np.nan)
        if leader is None:
            return 100.0 * used_well
        return 100.0 * (0.7 * used_well + 0.3 * (1.0 - world.stranded))
