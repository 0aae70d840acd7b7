"""GPU classes and the free GPUs of nodes, as plain data.

`free = allocatable - requested` per node and class; allocatable already excludes unhealthy devices;
requested counts pods that have a node and are neither Succeeded nor Failed. Nodes that are cordoned,
not ready or tainted count apart (design: placement, Capacity). Where a node agent reads the devices, what it
knows of their health has been taken into account (`arbora_agent/gpu/exclusion.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

HISTOGRAM_BINS = 17
"""Nodes with 0..15 free devices, and with 16 or more in the last bin."""


@dataclass(frozen=True, slots=True, order=True)
class GpuClass:
    """What makes GPUs interchangeable for scheduling."""

    vendor: str
    product: str
    mig_profile: str = ""
    sharing: str = "exclusive"

    def __str__(self) -> str:
        mig = f" {self.mig_profile}" if self.mig_profile else ""
        shared = f" ({self.sharing})" if self.sharing != "exclusive" else ""
        return f"{self.product}{mig}{shared}"

    @property
    def key(self) -> str:
        """A record key segment: unique per class, without a slash."""
        parts = (self.vendor, self.product, self.mig_profile, self.sharing)
        return ":".join(part.replace("/", "_").replace(":", "_") for part in parts)


@dataclass(frozen=True, slots=True)
class NodeGpus:
    """The GPUs of one class on one node."""

    node: str
    gpu_class: GpuClass
    capacity: int
    """Devices that exist, healthy or not."""
    allocatable: int
    """Devices that Kubernetes offers, without those that are known to be no good."""
    requested: int
    """Devices that bound, unfinished pods ask for."""
    usable: bool = True
    """Ready, not cordoned, and without a taint other than the GPU's own."""
    free_cpu_millis: int = 0
    free_memory_mib: int = 0
    labels: tuple[tuple[str, str], ...] = field(default=())
    """Labels that scheduling uses, sorted."""
    broken: int | None = None
    """Devices out of order, where somebody looked; None: those that Kubernetes doesn't offer."""
    draining: int = 0
    """Devices that no pod holds and that take no new work; not allocatable."""
    degraded: int = 0
    """Allocatable devices that don't work as well as they should."""
    observed: int = 0
    """Devices whose health is known."""

    @property
    def unhealthy(self) -> int:
        """Devices that are out of order."""
        return max(0, self.capacity - self.allocatable) if self.broken is None else self.broken

    @property
    def free(self) -> int:
        """Devices a new pod could get; never negative."""
        return max(0, self.allocatable - self.requested) if self.usable else 0
