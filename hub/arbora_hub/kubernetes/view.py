"""One member cluster as the hub's face sees it, wherever it stands below this hub. Pure.

MemberLine (of a child: `own_line`; of one further down: `passed_line`), the hubs on the way -> `MemberView`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from arbora.capacity.gpus import GpuClass
from arbora.capacity.wire import EFFECT_FROM_WIRE
from arbora.v1 import member_pb2
from arbora_hub.inventory.facts import Facts
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.tree.subtree import liveness_of


@dataclass(frozen=True, slots=True, order=True)
class GpuTotals:
    """The GPUs of one class, counted."""

    gpu_class: GpuClass
    total: int
    free: int
    unhealthy: int


@dataclass(frozen=True, slots=True)
class MemberView:
    """What is known of a member cluster now."""

    path: str
    """From the root of the tree: `/eu/paris/edge-7`."""
    relative: str
    """From this hub: `paris/edge-7`."""
    liveness: Liveness
    """No better than that of any hub between."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Its own over those of the hubs above it, as placement selects by."""
    taints: frozenset[tuple[str, str, str]] = frozenset()
    """(key, value, effect), those of hubs below this one too."""
    cordoned: bool = False
    """It, or a hub between."""
    cluster_uid: str = ""
    version: str = ""
    """Of its agent."""
    gpus: tuple[GpuTotals, ...] = ()
    api_healthy: bool | None = None
    """Whether its API server answers, as far as the hub that owns it knows; None: nobody said."""
    digest: bytes = b""
    """Of its slow facts; empty: the hub that owns it says none."""
    facts: Facts | None = None
    """As last known, perhaps older than the digest; None: not known yet."""


Above = Iterable[member_pb2.MemberLine]
"""The lines of the hubs between, from above."""


def view_of(
    line: member_pb2.MemberLine, path: str, inherited: Mapping[str, str], above: Above, facts: Facts | None
) -> MemberView:
    """line: as seen from this hub. path: from the root. inherited: labels that this hub has from above."""
    labels = dict(inherited)
    taints: set[tuple[str, str, str]] = set()
    cordoned = False
    for one in (*above, line):
        labels.update(one.labels)
        taints.update((each.key, each.value, EFFECT_FROM_WIRE.get(each.effect, "")) for each in one.taints)
        cordoned |= one.cordoned
    return MemberView(
        path=path,
        relative=line.path,
        liveness=liveness_of(line.liveness),
        labels=labels,
        taints=frozenset(taints),
        cordoned=cordoned,
        cluster_uid=line.cluster_uid,
        version=line.version,
        gpus=tuple(sorted(map(_totals, line.gpus))),
        api_healthy=line.api_healthy if line.facts else None,
        digest=line.facts,
        facts=facts,
    )


def _totals(count: member_pb2.GpuCount) -> GpuTotals:
    one = count.gpu_class
    gpu_class = GpuClass(one.vendor, one.product, one.mig_profile, one.sharing or "exclusive")
    return GpuTotals(gpu_class, count.total, count.free, count.unhealthy)
