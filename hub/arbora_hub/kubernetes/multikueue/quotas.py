"""From what members have to what their queues may give away. Pure.

In a member each GPU product is a flavor of its own, where the node label tells it word for word: Kueue then
admits a job that names a product only where it is. Here, in the manager's queue, the flavors are sums without
labels, as only the member decides.

CPU and memory are known of few members. Kueue refuses a job that asks for what a queue does not name, so both
are always named, with UNLIMITED where nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.capacity.pod import MIG_PREFIX
from arbora_hub.kubernetes.multikueue.names import digest, flavor_name
from arbora_hub.placement.rows import Row

UNLIMITED: Mapping[str, str] = {"cpu": "1M", "memory": "1Pi"}
PRODUCT_LABEL = "nvidia.com/gpu.product"
_UNLABELLED = {"nvidia": "nvidia-gpu"}
"""What `capacity/node.py` calls a product that no label names."""
_INTEL_DEFAULT = "gpu.intel.com/i915"


@dataclass(frozen=True, slots=True)
class Flavor:
    """A ResourceFlavor with its quotas."""

    name: str
    labels: tuple[tuple[str, str], ...]
    quotas: tuple[tuple[str, str], ...]
    """Resource -> quantity, in the order of the group's resources."""


@dataclass(frozen=True, slots=True)
class Group:
    """Resources that are given away together."""

    resources: tuple[str, ...]
    flavors: tuple[Flavor, ...]

    def data(self) -> dict[str, Any]:
        """As in a ClusterQueue."""
        return {
            "coveredResources": list(self.resources),
            "flavors": [
                {
                    "name": one.name,
                    "resources": [{"name": name, "nominalQuota": amount} for name, amount in one.quotas],
                }
                for one in self.flavors
            ],
        }


def resource_of(gpu_class: GpuClass) -> str:
    """The resource by which pods ask for devices of a class."""
    match gpu_class.vendor:
        case "nvidia":
            if gpu_class.mig_profile:
                return f"{MIG_PREFIX}{gpu_class.mig_profile.replace('+', '.')}"
            return "nvidia.com/gpu"
        case "amd":
            return "amd.com/gpu"
        case "intel":
            return _INTEL_DEFAULT
        case vendor:
            return f"{vendor}.com/gpu"


def summed(rows: Iterable[Row], quota: Mapping[str, str], base: str) -> tuple[Group, ...]:
    """One flavor with the sum of everything. quota: what somebody fixed."""
    totals: Counter[str] = Counter()
    for row in rows:
        if row.gpu_class is not None:
            totals[resource_of(row.gpu_class)] += row.sketch.total
    amounts = {**UNLIMITED, **{name: str(count) for name, count in totals.items()}, **quota}
    return (_single(base, amounts),)


def by_product(rows: Iterable[Row], quota: Mapping[str, str], base: str) -> tuple[Group, ...]:
    """A flavor for each product that a node label tells, and one for everything else."""
    totals: dict[str, Counter[GpuClass]] = {}
    for row in rows:
        if row.gpu_class is not None and row.sketch.total:
            totals.setdefault(resource_of(row.gpu_class), Counter())[row.gpu_class] += row.sketch.total
    plain = dict(UNLIMITED)
    groups = []
    for resource, classes in sorted(totals.items()):
        if resource not in quota and all(_labelled(one) for one in classes):
            groups.append(Group((resource,), _products(base, resource, classes)))
        else:
            plain[resource] = str(sum(classes.values()))
    return (_single(base, {**plain, **quota}), *groups)


def _products(base: str, resource: str, classes: Counter[GpuClass]) -> tuple[Flavor, ...]:
    named: dict[str, Flavor] = {}
    for one in sorted(classes):
        name = flavor_name(base, one.product)
        if name in named:  # two products that differ only in what a name can't hold
            name = f"{name}-{digest(one.product)}"
        named[name] = Flavor(name, ((PRODUCT_LABEL, one.product),), ((resource, str(classes[one])),))
    return tuple(named.values())


def _single(base: str, amounts: Mapping[str, str]) -> Group:
    resources = tuple(sorted(amounts))
    return Group(resources, (Flavor(base, (), tuple((name, amounts[name]) for name in resources)),))


def _labelled(gpu_class: GpuClass) -> bool:
    """Whether the product is what stands in the node label, nothing cut off."""
    return (
        gpu_class.vendor == "nvidia"
        and not gpu_class.mig_profile
        and gpu_class.sharing == "exclusive"
        and gpu_class.product != _UNLABELLED["nvidia"]
    )
