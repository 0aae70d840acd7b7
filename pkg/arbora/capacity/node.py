"""From a Kubernetes node and the pods on it to free GPUs per class.

For: the adapters of `Cluster`, which feed nodes and pods from their watches. No I/O. `read_node` keeps the
few fields that count (a node object is tens of kilobytes), `node_gpus` does the sum. The class of a GPU
comes from the resource's name and from the labels of the vendors' node labellers (GPU feature discovery,
AMD's and Intel's).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.pod import MIG_PREFIX, PodUse, is_gpu, sum_gpus
from arbora.capacity.quantity import MEBI, MILLI, floor, parse

SCHEDULING_LABELS = (
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "nvidia.com/gpu.memory",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)
"""Labels of a node that scheduling may ask for; few values each, so that nodes of a kind stay alike."""

GPU_TAINTS = frozenset({"nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe"})
"""Taints that keep pods without a GPU away; pods that ask for one tolerate them (ExtendedResourceToleration)."""

_AMD_PRODUCT_LABELS = ("amd.com/gpu.product-name", "beta.amd.com/gpu.product-name", "amd.com/gpu.device-id")
_INTEL_PRODUCT_LABELS = ("gpu.intel.com/product", "gpu.intel.com/family")
_MIG_OF_PRODUCT = re.compile(r"-MIG-([0-9]+c?\.?[0-9]*g\.[0-9]+gb(?:[.+]me)?)$")


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of one class on one node, of one resource name."""

    resource: str
    gpu_class: GpuClass
    capacity: int
    allocatable: int


@dataclass(frozen=True, slots=True)
class NodeShape:
    """What counts of a node."""

    name: str
    ready: bool
    usable: bool
    devices: tuple[Devices, ...]
    cpu_millis: int
    memory_mib: int
    labels: tuple[tuple[str, str], ...]


def gpu_class(resource: str, labels: Mapping[str, str]) -> GpuClass:
    """The class of the GPUs that `resource` counts on a node with `labels`.

    A product nobody labelled is named after its vendor, so that its devices are still counted.
    """
    if resource == "amd.com/gpu":
        return GpuClass("amd", _first(labels, _AMD_PRODUCT_LABELS) or "amd-gpu")
    if resource.startswith("gpu.intel.com/"):
        return GpuClass("intel", _first(labels, _INTEL_PRODUCT_LABELS) or "intel-gpu")
    prefix = resource.removesuffix(".shared")
    # With the mixed MIG strategy each profile has labels of its own beside those of the whole device.
    product = labels.get(f"{prefix}.product") or labels.get("nvidia.com/gpu.product") or "nvidia-gpu"
    strategy = labels.get(f"{prefix}.sharing-strategy") or labels.get("nvidia.com/gpu.sharing-strategy") or ""
    marked_shared = resource.endswith(".shared") or product.endswith("-SHARED")
    product = product.removesuffix("-SHARED")
    profile = resource.removeprefix(MIG_PREFIX).removesuffix(".shared") if resource.startswith(MIG_PREFIX) else ""
    if match := _MIG_OF_PRODUCT.search(product):
        profile, product = profile or match[1], product[: match.start()]
    return GpuClass("nvidia", product, profile.replace("+", "."), _sharing(strategy, marked_shared))


def read_node(node: Mapping[str, Any], scheduling_labels: Iterable[str] = SCHEDULING_LABELS) -> NodeShape:
    """The few facts of a node object that capacity needs. Raises InvalidInput for a malformed quantity."""
    metadata, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    labels: Mapping[str, str] = metadata.get("labels") or {}
    capacity, allocatable = status.get("capacity") or {}, status.get("allocatable") or {}
    devices = []
    for resource in sorted({*capacity, *allocatable}):
        if not is_gpu(resource):
            continue
        exists, offered = _whole(capacity.get(resource, 0)), _whole(allocatable.get(resource, 0))
        if exists or offered:
            devices.append(Devices(resource, gpu_class(resource, labels), max(exists, offered), offered))
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    return NodeShape(
        name=metadata["name"],
        ready=ready,
        usable=ready and not spec.get("unschedulable") and not any(map(_repels, spec.get("taints") or ())),
        devices=tuple(devices),
        cpu_millis=floor(parse(allocatable.get("cpu", 0)), MILLI),
        memory_mib=floor(parse(allocatable.get("memory", 0)), MEBI),
        labels=tuple(sorted((key, labels[key]) for key in scheduling_labels if key in labels)),
    )


def node_gpus(node: NodeShape, pods: Iterable[PodUse]) -> tuple[NodeGpus, ...]:
    """Free GPUs of `node` by class, given the unfinished `pods` on it. In the order of the classes."""
    uses = tuple(pods)
    requested = sum_gpus(uses)
    by_class: dict[GpuClass, list[int]] = {}
    for each in node.devices:
        sums = by_class.setdefault(each.gpu_class, [0, 0, 0])
        sums[0] += each.capacity
        sums[1] += each.allocatable
        sums[2] += requested.get(each.resource, 0)
    free_cpu = max(0, node.cpu_millis - sum(use.cpu_millis for use in uses))
    free_memory = max(0, node.memory_mib - sum(use.memory_mib for use in uses))
    return tuple(
        NodeGpus(
            node=node.name,
            gpu_class=which,
            capacity=capacity,
            allocatable=allocatable,
            requested=asked,
            usable=node.usable,
            free_cpu_millis=free_cpu,
            free_memory_mib=free_memory,
            labels=node.labels,
        )
        for which, (capacity, allocatable, asked) in sorted(by_class.items())
    )


def _repels(taint: Mapping[str, Any]) -> bool:
    return taint.get("effect") != "PreferNoSchedule" and taint.get("key") not in GPU_TAINTS


def _sharing(strategy: str, marked_shared: bool) -> str:
    if strategy and strategy != "none":
        return strategy
    return "time-slicing" if marked_shared else "exclusive"


def _first(labels: Mapping[str, str], names: Iterable[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _whole(written: str | int) -> int:
    return floor(max(parse(written), Fraction(0)))
