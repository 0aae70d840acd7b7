"""What a workload asks of the children: pods, their GPUs, and whether they belong together. Pure.

A demand is read from manifests elsewhere; here it is plain data. `Demand.whole` decides the unit of placement:
single pods that may be divided, or everything at once in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from arbora.capacity.gpus import GpuClass

_VENDORS = ("nvidia", "amd", "intel")


@dataclass(frozen=True, slots=True, order=True)
class GpuWish:
    """Which GPUs a pod takes: by resource name (`nvidia.com/gpu`, `nvidia.com/mig-1g.10gb`), maybe product."""

    resource: str = "nvidia.com/gpu"
    product: str = ""
    """As the class names it; letter case does not matter. Empty: any."""

    @property
    def family(self) -> tuple[str, str, bool]:
        """Vendor, MIG profile, and whether only shared devices are meant."""
        return _family(self.resource)

    def takes(self, gpu_class: GpuClass) -> bool:
        """Whether a device of the class serves."""
        vendor, mig_profile, shared = self.family
        return (
            gpu_class.vendor == vendor
            and gpu_class.mig_profile == mig_profile
            and (gpu_class.sharing != "exclusive" or not shared)
            and (not self.product or self.product.lower() == gpu_class.product.lower())
        )

    def overlaps(self, other: GpuWish) -> bool:
        """Whether one device could serve both."""
        mine, theirs = self.product.lower(), other.product.lower()
        return self.family[:2] == other.family[:2] and (not mine or not theirs or mine == theirs)

    def __str__(self) -> str:
        return f"{self.resource} ({self.product})" if self.product else self.resource


@lru_cache(maxsize=256)
def _family(resource: str) -> tuple[str, str, bool]:
    domain, _, device = resource.partition("/")
    vendor = next((each for each in _VENDORS if each in domain.split(".")), domain)
    plain = device.removesuffix(".shared")
    return vendor, plain.removeprefix("mig-") if plain.startswith("mig-") else "", plain != device


@dataclass(frozen=True, slots=True)
class PodGroup:
    """Equal pods."""

    name: str
    replicas: int
    gpus_per_pod: int = 0
    gpu: GpuWish | None = None
    """Needed where gpus_per_pod is above 0."""
    cpu_millis: int = 0
    """Per pod."""
    memory_mib: int = 0
    """Per pod."""


@dataclass(frozen=True)
class Demand:
    """All pods of a workload. Without groups it has objects and no pods."""

    groups: tuple[PodGroup, ...] = ()
    gang: bool = False
    """All pods or none."""
    splittable: bool = False
    """A gang that may stand in several members."""

    @cached_property
    def replicas(self) -> int:
        """Pods in all."""
        return sum(group.replicas for group in self.groups)

    @cached_property
    def gpus(self) -> int:
        """Devices in all."""
        return sum(group.replicas * group.gpus_per_pod for group in self.groups)

    @cached_property
    def merged(self) -> tuple[PodGroup, ...]:
        """Groups with pods, those of equal pods joined; most GPUs per pod first."""
        joined: dict[tuple[GpuWish | None, int, int, int], PodGroup] = {}
        for group in self.groups:
            if group.replicas:
                wish = group.gpu if group.gpus_per_pod else None
                key = (wish, group.gpus_per_pod, group.cpu_millis, group.memory_mib)
                before = joined.get(key)
                pods = group.replicas + (before.replicas if before else 0)
                joined[key] = replace(group, replicas=pods, gpu=wish)
        return tuple(sorted(joined.values(), key=lambda group: -group.gpus_per_pod))

    @cached_property
    def whole(self) -> bool:
        """Whether all of it goes to one child: a gang that may not be split, or pods of several kinds."""
        return (self.gang and not self.splittable) or len(self.merged) > 1
