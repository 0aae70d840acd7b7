"""Totals of scores, and the order of children. Pure.

total = sum of weight x score (50 where unknown) x freshness of the report
order: children without soft taints first, then total, then free GPUs, then a hash of (workload, child)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from arbora_hub.placement.arrays import Floats, Ints
from arbora_hub.placement.registry import SCORERS, weights
from arbora_hub.placement.scores.leanings import freshness, soft_tainted
from arbora_hub.placement.scores.port import UNKNOWN_SCORE
from arbora_hub.placement.world import World


@dataclass(frozen=True, slots=True)
class Part:
    """One scorer's say."""

    name: str
    weight: float
    scores: Floats
    """Per slot; NaN where not known."""
    missing: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """All scores of one decision."""

    parts: tuple[Part, ...]
    totals: Floats
    """Per slot, 0 to 100."""


def rated(world: World) -> Ranking:
    """Score every child."""
    weight_of = weights(world.request.policy.weights)
    parts = tuple(
        Part(one.name, weight_of[one.name], one.scores(world), one.missing)
        for one in SCORERS
        if one.name in weight_of
    )
    totals = np.zeros(world.snapshot.slots)
    for part in parts:
        totals += part.weight * np.where(np.isnan(part.scores), UNKNOWN_SCORE, part.scores)
    if world.leader is not None:
        totals *= freshness(world)
    # beyond the sixth digit a sum is noise, and noise must not beat the tie rules
    return Ranking(parts, np.round(totals, 6))


def ordered(world: World, ranking: Ranking, slots: Ints) -> Ints:
    """The given slots, best first."""
    keys = (
        world.ties[slots],
        -world.room.free[slots],
        -ranking.totals[slots],
        soft_tainted(world)[slots],
    )
    return np.asarray(slots[np.lexsort(keys)], dtype=np.int64)
