"""What a placement asks, as plain data; `validate.py` checks it.

which children     members, selector, expression, groups, tolerations, kinds, claims
how many           clusters, minimum, spread
how much on each   division
which are better   weights
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from arbora.manifests.selectors import Selector
from arbora_hub.placement.demand import Demand

MODES = ("duplicate", "weighted", "available", "pack", "spread")
DO_NOT_SCHEDULE = "DoNotSchedule"
SCHEDULE_ANYWAY = "ScheduleAnyway"
LEVEL_PREFIX = "level/"
"""A spread label `level/2` means the second label of a child's path."""


@dataclass(frozen=True, slots=True)
class Toleration:
    """As in Kubernetes. Without a key and with Exists it tolerates everything."""

    key: str = ""
    operator: str = "Equal"
    """Equal or Exists."""
    value: str = ""
    effect: str = ""
    """Empty: all effects."""
    seconds: float | None = None
    """How long a NoExecute taint is tolerated; None: for ever."""


@dataclass(frozen=True, slots=True)
class AffinityGroup:
    """Children tried together: those listed and those selected."""

    name: str
    members: tuple[str, ...] = ()
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """Over the values of a label. The skew counts replicas where they are divided, else children."""

    label: str
    max_skew: int = 1
    min_groups: int = 0
    max_groups: int | None = None
    when_unsatisfiable: str = DO_NOT_SCHEDULE


@dataclass(frozen=True, slots=True)
class StaticWeight:
    """A share of the replicas for a child, or for each child that a selector matches."""

    weight: int
    member: str = ""
    selector: Selector | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """How replicas are divided."""

    mode: str = "available"
    weights: tuple[StaticWeight, ...] = ()
    """For `weighted`; a child takes the largest weight that names it."""
    partial: bool = True
    """Whether some replicas may run while others wait; never for a gang."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a member should prove, such as `residency-eu`."""

    name: str
    weight: float = 1.0
    hard: bool = False
    """A hard claim that is not attested or observed keeps the workload away."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A placement. Without members and selector every child is meant; with both, their union."""

    members: tuple[str, ...] = ()
    selector: Selector | None = None
    expression: str = ""
    """CEL; must hold as well. See `expressions.py` for its variables."""
    groups: tuple[AffinityGroup, ...] = ()
    """Tried in order; the first that takes everything wins."""
    overflow: bool = False
    """Fill one group, then the next, instead of choosing one."""
    tolerations: tuple[Toleration, ...] = ()
    clusters: int | None = None
    """At most this many children; None: no limit."""
    minimum: int = 0
    """With fewer children nothing is placed."""
    spread: tuple[Spread, ...] = ()
    division: Division | None = None
    """None: every chosen child runs all of it."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Scorer -> weight of 0 to 1. What is set rescales the others."""
    priority: int = 0
    kinds: tuple[str, ...] = ()
    """API kinds a member must serve, such as `batch.volcano.sh/v1alpha1/Job`."""
    claims: tuple[Claim, ...] = ()

    @property
    def mode(self) -> str:
        """One of MODES."""
        return self.division.mode if self.division is not None else "duplicate"


@dataclass(frozen=True, slots=True)
class Request:
    """One workload that asks for a place."""

    uid: str
    policy: Policy
    demand: Demand
    rebalance: bool = False
    """Divide afresh instead of keeping what is placed."""
    excluded: Mapping[str, str] = field(default_factory=dict)
    """Child -> why it takes nothing of this workload now, as the end of a sentence."""
    caps: Mapping[str, int] = field(default_factory=dict)
    """Child hub -> the most replicas that it can place, as it said when it was given more."""
    quota: Mapping[str, int] = field(default_factory=dict)
    """Child -> devices that this workload's queue may still take there; absent: no limit."""
    hours: float = 1.0
    """How long it is expected to run, on the fastest class."""
    egress_gib: float = 0.0
    transfer_seconds: Mapping[str, float] = field(default_factory=dict)
    """Child -> seconds until its data is there; absent: nothing has to be moved."""
