"""What a pod asks for, and whether it counts against its node.

For: the capacity of nodes, and the size of a workload before it is placed. No I/O. A pod's request per
resource is max(sum of containers and sidecars, the init containers' running maximum) plus the pod's
overhead; a sidecar is an init container with restartPolicy Always and counts for every init container after
it.
Source: KEP-753 (sidecars), KEP-2837 (pod-level resources), kubectl/pkg/util/resource.PodRequests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from arbora.capacity.quantity import MEBI, MILLI, ceiling, parse

Amounts = dict[str, Fraction]

GPU_RESOURCES = (
    "nvidia.com/gpu",
    "nvidia.com/gpu.shared",
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
)
"""Extended resources that are GPUs; MIG resources are known by their prefix."""
MIG_PREFIX = "nvidia.com/mig-"


def is_gpu(resource: str) -> bool:
    """Whether this extended resource counts devices (or slices) of GPUs."""
    return resource in GPU_RESOURCES or resource.startswith(MIG_PREFIX)


@dataclass(frozen=True, slots=True)
class PodUse:
    """What one unfinished pod asks for. Equal pods may share one value."""

    node: str
    """Empty while the pod has no node."""
    gpus: tuple[tuple[str, int], ...]
    """Devices by resource name, sorted, without zeros."""
    cpu_millis: int
    memory_mib: int


def pod_requests(spec: Mapping[str, Any]) -> Amounts:
    """The effective request of a pod spec by resource name. Raises InvalidInput for a malformed quantity."""
    running: Amounts = {}
    for container in spec.get("containers") or ():
        _add(running, _asked(container))
    sidecars: Amounts = {}
    starting: Amounts = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, asked)
            _raise(starting, sidecars)
        else:
            _add(asked, sidecars)
            _raise(starting, asked)
    _add(running, sidecars)
    _raise(running, starting)
    # Resources of the pod as a whole stand above those of its containers.
    running.update(_asked(spec))
    _add(running, _parsed(spec.get("overhead") or {}))
    return running


def read_pod(pod: Mapping[str, Any]) -> PodUse | None:
    """What a pod object takes from its node, or None once it succeeded or failed."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return None
    amounts = pod_requests(spec)
    gpus = sorted((name, ceiling(amount)) for name, amount in amounts.items() if amount > 0 and is_gpu(name))
    return PodUse(
        node=spec.get("nodeName") or "",
        gpus=tuple(gpus),
        cpu_millis=ceiling(amounts.get("cpu", Fraction(0)), MILLI),
        memory_mib=ceiling(amounts.get("memory", Fraction(0)), MEBI),
    )


def sum_gpus(pods: Iterable[PodUse]) -> dict[str, int]:
    """Devices that these pods ask for together, by resource name."""
    total: dict[str, int] = {}
    for pod in pods:
        for resource, count in pod.gpus:
            total[resource] = total.get(resource, 0) + count
    return total


def _asked(owner: Mapping[str, Any]) -> Amounts:
    """Requests of a container (or pod); a limit without a request is a request, as the API server defaults it."""
    resources = owner.get("resources") or {}
    return _parsed({**(resources.get("limits") or {}), **(resources.get("requests") or {})})


def _parsed(written: Mapping[str, Any]) -> Amounts:
    return {name: parse(amount) for name, amount in written.items()}


def _add(total: Amounts, more: Mapping[str, Fraction]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Fraction(0)) + amount


def _raise(maximum: Amounts, other: Mapping[str, Fraction]) -> None:
    for name, amount in other.items():
        maximum[name] = max(maximum.get(name, Fraction(0)), amount)
