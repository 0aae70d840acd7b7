"""Filters and scorers by name: the one list that a new plugin is added to.

The order of filters is the order in which a child's first reason is told; the order of scorers is the order in
which parts are summed, so that totals are the same bytes everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbora_hub.placement.filters.choice import Choice, Expression, Groups, SpreadLabels
from arbora_hub.placement.filters.hardware import Fit, GpuClasses, HardClaims, Kinds
from arbora_hub.placement.filters.port import Filter
from arbora_hub.placement.filters.presence import Capped, Cordon, Exclusion, Liveness
from arbora_hub.placement.filters.taints import NoExecute, NoSchedule
from arbora_hub.placement.scores.cost import Cost
from arbora_hub.placement.scores.fitness import Compliance, Topology
from arbora_hub.placement.scores.leanings import (
    Balance,
    BinPack,
    FreeGpus,
    Freshness,
    Locality,
    Steady,
)
from arbora_hub.placement.scores.performance import Performance
from arbora_hub.placement.scores.port import Scorer
from arbora_hub.placement.scores.resource import Resource

FILTERS: tuple[Filter, ...] = (
    Choice(),
    Groups(),
    Expression(),
    Liveness(),
    Cordon(),
    Exclusion(),
    NoExecute(),
    NoSchedule(),
    Kinds(),
    HardClaims(),
    SpreadLabels(),
    GpuClasses(),
    Fit(),
    Capped(),
)

SCORERS: tuple[Scorer, ...] = (
    Resource(),
    Performance(),
    Cost(),
    Compliance(),
    Topology(),
    Balance(),
    Steady(),
    FreeGpus(),
    BinPack(),
    Locality(),
    Freshness(),
)


def weights(set_by_policy: Mapping[str, float]) -> dict[str, float]:
    """What each scorer counts, summing to 1; scorers without weight are left out.

    Weights that a placement sets are taken as they are, and the others share what is left in their old
    proportions: one weight v rescales each other by (1 - v) / (1 - old). If those set exceed 1, they are scaled
    to 1 themselves.
    """
    given = {one.name: set_by_policy[one.name] for one in SCORERS if one.name in set_by_policy}
    rest = {one.name: one.weight for one in SCORERS if one.name not in given}
    claimed, shared = sum(given.values()), sum(rest.values())
    if claimed >= 1.0 or shared == 0.0:
        rest = dict.fromkeys(rest, 0.0)
        if claimed > 0:
            given = {name: value / claimed for name, value in given.items()}
    else:
        rest = {name: value * (1.0 - claimed) / shared for name, value in rest.items()}
    both = given | rest
    return {one.name: both[one.name] for one in SCORERS if both[one.name] > 0.0}
