"""Pods of a simulated cluster, what they ask for, and the scheduler that gives them nodes. Pure.

A pod here is a claim on GPUs for a time; nothing runs. `controllers.py` makes them, `place` binds them.
Only GPUs are counted: CPU and memory of a simulated node never run out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from arbora.capacity.pod import is_gpu, pod_requests
from arbora.capacity.quantity import ceiling
from arbora_agent.cluster.simulated.fleet import GPU_RESOURCE, SimulatedNode

SECONDS_ANNOTATION = "arbora.dev/simulated-seconds"
"""On a Job, a Pod or a pod template: how long a pod runs before it succeeds."""
DEFAULT_SECONDS = 5.0
"""How long a Job's pod runs without that annotation."""

_OWNING = frozenset({"Job", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What a pod asks of its node."""

    digest: str
    """Equal templates have equal digests."""
    gpus: tuple[tuple[str, int], ...] = ()
    """Devices by resource name, sorted."""
    selector: tuple[tuple[str, str], ...] = ()
    """Labels that the node must have."""
    bound_to: str = ""
    """The node that the pod itself names, past the scheduler."""
    seconds: float | None = None
    """How long it runs; None: until it is deleted."""


@dataclass(frozen=True, slots=True)
class SimulatedPod:
    """One pod, from its creation to the end of its owner."""

    serial: int
    """Order of creation, unique in the simulation."""
    owner: str
    """UID of the object that it belongs to."""
    template: PodTemplate
    node: str = ""
    """Where it runs; empty: it waits."""
    started: float = 0.0
    """The moment it was given its node."""
    succeeded: bool = False

    @property
    def running(self) -> bool:
        """On a node and not done."""
        return bool(self.node) and not self.succeeded

    @property
    def waiting(self) -> bool:
        """Without a node."""
        return not self.node

    @property
    def ends(self) -> float | None:
        """The moment it will succeed; None while it waits, or if it never ends by itself."""
        if not self.running or self.template.seconds is None:
            return None
        return self.started + self.template.seconds


def template_of(kind: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod template of an object (for a Pod: itself); None for a kind without pods."""
    if kind == "Pod":
        return body
    if kind not in _OWNING:
        return None
    spec = body.get("spec")
    found = spec.get("template") if isinstance(spec, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def pod_template(kind: str, body: Mapping[str, Any]) -> PodTemplate | None:
    """What the pods of an admitted object ask for; None for a kind without pods."""
    template = template_of(kind, body)
    if template is None:
        return None
    spec = template.get("spec", {})
    text = _annotation(template) or _annotation(body)
    seconds: float | None = float(text) if text else (DEFAULT_SECONDS if kind == "Job" else None)
    if kind not in ("Job", "Pod"):
        seconds = None  # a Deployment's pods would only be started again
    digest = blake2b(json.dumps(spec, sort_keys=True).encode(), digest_size=8).hexdigest()
    return PodTemplate(
        digest=digest,
        gpus=tuple(sorted(gpu_request(spec).items())),
        selector=tuple(sorted(spec.get("nodeSelector", {}).items())),
        bound_to=spec.get("nodeName", ""),
        seconds=seconds,
    )


def gpu_request(spec: Mapping[str, Any]) -> dict[str, int]:
    """Devices that a pod asks for, by resource name. Raises InvalidInput for a malformed quantity."""
    return {name: ceiling(amount) for name, amount in pod_requests(spec).items() if amount > 0 and is_gpu(name)}


def place(nodes: Iterable[SimulatedNode], pods: Sequence[SimulatedPod]) -> dict[int, str]:
    """Nodes for waiting pods, by serial: oldest first, each on the fullest node that takes it (ties by name).

    A pod that doesn't fit does not hold up the ones behind it, as in Kubernetes.
    """
    known = {node.name: node for node in nodes}
    free = {name: node.gpus for name, node in known.items()}
    for pod in pods:
        if pod.running and pod.node in free:
            free[pod.node] -= dict(pod.template.gpus).get(GPU_RESOURCE, 0)
    bound: dict[int, str] = {}
    for pod in sorted((each for each in pods if each.waiting), key=lambda each: each.serial):
        choice = pod.template.bound_to or _choose(known.values(), free, pod.template)
        if choice:
            bound[pod.serial] = choice
            if choice in free:
                free[choice] -= dict(pod.template.gpus).get(GPU_RESOURCE, 0)
    return bound


def matches(node: SimulatedNode, template: PodTemplate) -> bool:
    """Whether the node has the labels that the template asks for."""
    labels = node.labels
    return all(labels.get(key) == value for key, value in template.selector)


def _choose(nodes: Iterable[SimulatedNode], free: Mapping[str, int], template: PodTemplate) -> str:
    wanted = dict(template.gpus)
    count = wanted.pop(GPU_RESOURCE, 0)
    if wanted:
        return ""  # another vendor's devices, or a slice: no simulated node offers them
    fitting = [
        node
        for node in nodes
        if node.ready
        and not node.cordoned
        and not node.tainted
        and matches(node, template)
        and (count == 0 or free[node.name] >= count)
    ]
    return min(fitting, key=lambda node: (free[node.name], node.name)).name if fitting else ""


def _annotation(holder: Mapping[str, Any]) -> str:
    metadata = holder.get("metadata") or {}
    value: str = (metadata.get("annotations") or {}).get(SECONDS_ANNOTATION, "")
    return value
