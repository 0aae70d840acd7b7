"""What MultiKueue is told by the rest of the hub, and what it asks of it. Plain data and ports.

A member is known to placement as a place with rows, whether it is a child or stands deep below a child hub.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import EMPTY, sketch
from arbora.manifests.objects import Manifest
from arbora_hub.placement.rows import Place, Row

NODE_SIZE = 8
"""GPUs of a node, where only sums are known."""


@dataclass(frozen=True, slots=True)
class FleetMember:
    """A member that belongs to a Fleet."""

    path: str
    cluster_uid: str
    place: Place
    """Labels, taints, liveness, cordon, age of what is known; its name counts for nothing here."""
    rows: tuple[Row, ...] = ()
    """Its capacity by GPU class."""

    @property
    def known(self) -> bool:
        """Whether its capacity was reported since this hub started."""
        return math.isfinite(self.place.age)


@dataclass(frozen=True, slots=True)
class FleetView:
    """A Fleet as it is now."""

    name: str
    multikueue: Mapping[str, Any] | None
    """`spec.multiKueue` as it was written; None: it wants none."""
    members: tuple[FleetMember, ...]
    """Those that are not heard of now included, were it because a hub on the way has restarted: whoever is
    missing here has left, and drains."""
    uid: str = ""
    """Of the object: a Fleet that is made anew under the name is another one."""


class Fleets(Protocol):
    """The Fleets of this API server."""

    async def settled(self) -> None:
        """Return once it is known who belongs to each; before, nobody may be taken for gone."""
        ...

    def names(self) -> Collection[str]:
        """All of them."""
        ...

    def view(self, fleet: str) -> FleetView | None:
        """One of them; None: there is no such Fleet (any more)."""
        ...

    def profile(self, fleet: str, path: str, namespace: str) -> str | None:
        """Name of the member's ClusterProfile in a namespace; None: not published there (yet)."""
        ...

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Hear the name of each Fleet that changed, or whose members or their capacity did."""
        ...


class WorkerObjects(Protocol):
    """Arbora workloads that bring members their queues."""

    def of(self, fleet: str) -> Collection[str]:
        """Names of those that there are for a Fleet."""
        ...

    async def apply(self, name: str, fleet: str, path: str, manifests: Sequence[Manifest]) -> None:
        """Create or change one; a repetition changes nothing. Raises ArboraError."""
        ...

    async def delete(self, name: str) -> None:
        """Withdraw one; nothing happens if it is gone. Raises ArboraError."""
        ...


Say = Callable[[str, "Finding"], Awaitable[None]]
"""Puts a finding into the conditions of a Fleet."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How MultiKueue is doing for one Fleet; a condition of type MultiKueueReady."""

    ready: bool
    reason: str
    """CamelCase."""
    message: str


def coarse_row(gpu_class: GpuClass, total: int, free: int) -> Row:
    """A row where only sums are known: as if its free GPUs stood together, on nodes of NODE_SIZE."""
    nodes: list[NodeGpus] = []
    free = min(free, total)
    while total > 0:
        size = min(NODE_SIZE, total)
        here = min(size, free)
        nodes.append(NodeGpus(f"node-{len(nodes)}", gpu_class, size, size, size - here))
        total, free = total - size, free - here
    return Row(gpu_class, sketch(nodes, {}).get(gpu_class, EMPTY), cpu_known=False)
