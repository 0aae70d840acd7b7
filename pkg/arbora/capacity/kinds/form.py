"""The shape of a workload as plain data: what has to be placed, of whatever kind it was.

For: the readers of kinds, which make shapes, and placement, which takes them. Nothing is decided here. Pure.
A shape consists of `units`, the number that its object gives as replicas; each unit has pods of one or more
groups. Placement may divide the units over members only if `divisible`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from arbora.capacity.gpus import GpuClass
from arbora.capacity.node import gpu_class


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Equal pods. CPU in thousandths of a core, memory in MiB, both of one pod and rounded up."""

    name: str
    replicas: int
    """Pods in all units together: `units x per_unit`."""
    per_unit: int = 1
    cpu_millis: int = 0
    memory_mib: int = 0
    gpus: tuple[tuple[str, int], ...] = ()
    """Devices of one pod by resource name (`nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`), sorted."""
    products: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Node labels that name a GPU product, with the values that the pod accepts; all labels must hold."""

    def classes(self, resource: str) -> tuple[GpuClass, ...]:
        """The exact classes that count for `resource`; empty means any product of that resource."""
        told = [(label, values) for label, values in self.products if _tells(label, resource)]
        if not told:
            return ()
        labels = [label for label, _ in told]
        choices = itertools.product(*(values for _, values in told))
        return tuple(dict.fromkeys(gpu_class(resource, dict(zip(labels, each, strict=True))) for each in choices))


@dataclass(frozen=True, slots=True)
class ReplicasPath:
    """Where a share of n units is written, as the number `n x per_unit`."""

    pointer: str
    """JSON pointer (RFC 6901), such as `/spec/replicas`."""
    per_unit: int = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What one object asks for."""

    object: str
    """Kind and name, for people: `Job train`."""
    groups: tuple[PodGroup, ...]
    units: int = 1
    gang: bool = False
    """Whether pods have to run together. Placed whole or not at all."""
    min_available: int = 0
    """Pods that have to run together; 0 without a gang. With `divisible`, those of one unit
    (LeaderWorkerSet) if the number is that of one unit, else those of all members together."""
    divisible: bool = False
    """Whether n of the units may go to one member and the rest to others."""
    replicas_at: tuple[ReplicasPath, ...] = ()
    """Where the units are written; empty if the kind has no such place."""
    reasons: tuple[str, ...] = ()
    """What was assumed, as sentences for `explain`."""

    @property
    def pods(self) -> int:
        """Pods of all groups and units."""
        return sum(group.replicas for group in self.groups)

    @property
    def pods_per_unit(self) -> int:
        """Pods of all groups in one unit."""
        return sum(group.per_unit for group in self.groups)


@dataclass(frozen=True, slots=True)
class WorkloadShape:
    """What all objects of a workload ask for together, and which of them a division changes."""

    shapes: tuple[Shape, ...]
    """Of the objects that run pods, or may, in the order of the manifests."""
    indexes: tuple[int, ...]
    """The manifest that each shape was read from."""
    units: int
    gang: bool
    min_available: int
    """Pods of all gangs together."""
    divisible: bool
    reasons: tuple[str, ...]

    @property
    def groups(self) -> tuple[PodGroup, ...]:
        """The groups of all shapes."""
        return tuple(group for shape in self.shapes for group in shape.groups)


def _tells(label: str, resource: str) -> bool:
    """Whether `capacity/node.py` learns the product behind `resource` from this node label."""
    if resource.startswith("nvidia.com/"):
        return label in ("nvidia.com/gpu.product", f"{resource.removesuffix('.shared')}.product")
    return label.partition("/")[0].removeprefix("beta.") == resource.partition("/")[0]
