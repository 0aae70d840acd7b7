"""The sketch: free GPUs of any number of nodes in a fixed size, such that sums of sketches are sketches.

A member makes one row per GPU class from its nodes (`sketch`); a hub adds rows of its children up (`merge`).
Rows under `merge` are a commutative monoid with `EMPTY` as identity: how a tree is cut changes nothing.
Rows are kept apart by labels, taints and staleness in `aggregate.py`. Pure: no I/O, no clock;
the wire is in `wire.py`. Source: design notes on placement, "Capacity".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from arbora.capacity.gpus import HISTOGRAM_BINS, GpuClass, NodeGpus
from arbora.errors import InvalidInput

BEST_SIZES = 16
"""Pod sizes (devices per pod) for which `best` is kept: 1 to this."""


@dataclass(frozen=True, slots=True)
class SketchRow:
    """Devices of one class, summed over `members` members. All numbers are counts unless they name a unit."""

    members: int = 0
    total: int = 0
    """Devices, healthy or not, on nodes that may be used or not."""
    allocatable: int = 0
    """Devices that Kubernetes offers on usable nodes; always used + free, or more if stale (`without_free`)."""
    used: int = 0
    free: int = 0
    histogram: tuple[int, ...] = (0,) * HISTOGRAM_BINS
    """Element f: usable nodes with f free devices; 16 and more in the last."""
    unhealthy: int = 0
    """Devices that are out of order: Kubernetes doesn't offer them, or they say so themselves."""
    pending: int = 0
    """Devices that waiting pods ask for."""
    best: tuple[int, ...] = (0,) * BEST_SIZES
    """Element q-1: the most pods of q devices that one single member can take."""
    free_cpu_millis: int = 0
    free_memory_mib: int = 0
    unusable: int = 0
    """Devices on nodes that are cordoned, not ready or tainted."""
    degraded: int = 0
    """Allocatable devices that don't work as well as they should."""
    draining: int = 0
    """Devices that no pod holds and that take no new work, as they drain or recover."""
    observed: int = 0
    """Devices whose health is known, as their node's agent reads them."""

    def fit(self, size: int) -> int:
        """How many pods of `size` devices fit, each on one node. Exact up to 16 free devices per node, and a
        lower bound beyond. Raises InvalidInput if `size` is not positive."""
        _check_size(size)
        return sum(nodes * (free // size) for free, nodes in enumerate(self.histogram))

    def best_fit(self, size: int) -> int:
        """The most pods of `size` devices that one single member can take; 0 beyond 16 devices per pod.
        Raises InvalidInput if `size` is not positive."""
        _check_size(size)
        return self.best[size - 1] if size <= BEST_SIZES else 0


EMPTY = SketchRow()
"""The identity of `merge`."""


def sketch(nodes: Sequence[NodeGpus], pending: Mapping[str, int]) -> dict[GpuClass, SketchRow]:
    """The rows of one member, by class in a stable order.

    pending: devices that waiting pods ask for, by resource name (`nvidia.com/gpu`). A resource name doesn't
    tell the product, so the demand counts once, at that vendor's class with the most devices; demand for a
    class of which the member has no node is left out.
    """
    by_class: defaultdict[GpuClass, list[NodeGpus]] = defaultdict(list)
    for node in nodes:
        by_class[node.gpu_class].append(node)
    waiting = _pending_by_class(by_class, pending)
    return {each: _row(by_class[each], waiting.get(each, 0)) for each in sorted(by_class)}


def merge(rows: Iterable[SketchRow]) -> SketchRow:
    """The sum of `rows`: counts add up, `best` takes the maximum. Of no rows it is `EMPTY`."""
    kept = tuple(rows) or (EMPTY,)
    return SketchRow(
        members=sum(row.members for row in kept),
        total=sum(row.total for row in kept),
        allocatable=sum(row.allocatable for row in kept),
        used=sum(row.used for row in kept),
        free=sum(row.free for row in kept),
        histogram=tuple(map(sum, zip(*(row.histogram for row in kept), strict=True))),
        unhealthy=sum(row.unhealthy for row in kept),
        pending=sum(row.pending for row in kept),
        best=tuple(map(max, zip(*(row.best for row in kept), strict=True))),
        free_cpu_millis=sum(row.free_cpu_millis for row in kept),
        free_memory_mib=sum(row.free_memory_mib for row in kept),
        unusable=sum(row.unusable for row in kept),
        degraded=sum(row.degraded for row in kept),
        draining=sum(row.draining for row in kept),
        observed=sum(row.observed for row in kept),
    )


def without_free(row: SketchRow) -> SketchRow:
    """The row of members that are not heard of: it shows what there is, and promises nothing."""
    return replace(
        row,
        free=0,
        histogram=EMPTY.histogram,
        best=EMPTY.best,
        free_cpu_millis=0,
        free_memory_mib=0,
    )


def _row(nodes: Sequence[NodeGpus], pending: int) -> SketchRow:
    usable = [node for node in nodes if node.usable]
    histogram = [0] * HISTOGRAM_BINS
    for node in usable:
        histogram[min(node.free, HISTOGRAM_BINS - 1)] += 1
    allocatable = sum(node.allocatable for node in usable)
    free = sum(node.free for node in usable)
    return SketchRow(
        members=1,
        total=sum(node.capacity for node in nodes),
        allocatable=allocatable,
        # not the sum of `requested`: a device that fails under its pod would make it exceed what there is
        used=allocatable - free,
        free=free,
        histogram=tuple(histogram),
        unhealthy=sum(node.unhealthy for node in nodes),
        pending=pending,
        best=tuple(sum(node.free // size for node in usable) for size in range(1, BEST_SIZES + 1)),
        free_cpu_millis=sum(node.free_cpu_millis for node in usable),
        free_memory_mib=sum(node.free_memory_mib for node in usable),
        unusable=sum(node.capacity for node in nodes if not node.usable),
        degraded=sum(node.degraded for node in usable),
        draining=sum(node.draining for node in usable),
        observed=sum(node.observed for node in nodes),
    )


def _pending_by_class(
    by_class: Mapping[GpuClass, Sequence[NodeGpus]], pending: Mapping[str, int]
) -> dict[GpuClass, int]:
    devices = {each: sum(node.capacity for node in nodes) for each, nodes in by_class.items()}
    waiting: defaultdict[GpuClass, int] = defaultdict(int)
    for resource, count in pending.items():
        vendor, mig_profile, shared = _resource(resource)
        suitable = [
            each
            for each in devices
            if each.vendor == vendor
            and each.mig_profile == mig_profile
            and (each.sharing != "exclusive" or not shared)
        ]
        if suitable:
            waiting[min(suitable, key=lambda each: (-devices[each], each))] += count
    return dict(waiting)


def _resource(name: str) -> tuple[str, str, bool]:
    """Vendor, MIG profile and whether it is shared, from a resource name such as nvidia.com/mig-1g.10gb."""
    domain, _, device = name.partition("/")
    vendor = next((each for each in ("nvidia", "amd", "intel") if each in domain.split(".")), domain)
    plain = device.removesuffix(".shared")
    mig_profile = plain.removeprefix("mig-") if plain.startswith("mig-") else ""
    return vendor, mig_profile, plain != device


def _check_size(size: int) -> None:
    if size < 1:
        raise InvalidInput(f"a pod of {size} devices can't be sized", hint="Ask for pods of 1 device or more.")
