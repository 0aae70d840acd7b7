"""The account of GPUs: which nodes offer them and which pods hold them.

For: `sinks.py`, which feeds it from the watches. No I/O. Each change recomputes one node only, and says
whether anything that scheduling sees has changed, so that ordinary pods that come and go wake nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from arbora.capacity.gpus import NodeGpus
from arbora.capacity.node import NodeShape, node_gpus
from arbora.capacity.pod import PodUse, sum_gpus


@dataclass(frozen=True, slots=True)
class PodOrigin:
    """What made a pod that asks for GPUs, as far as it says."""

    workload_uid: str = ""
    """By our own label on the pod itself."""
    owner_kind: str = ""
    owner_name: str = ""
    owner_uid: str = ""


def read_origin(pod: Mapping[str, Any], label: str) -> PodOrigin:
    """From a pod object. label: that of our workloads. The owner of a Deployment's pod is its ReplicaSet, whose
    name is the Deployment's with the pod's template hash at its end; then the Deployment counts as the owner."""
    metadata = pod["metadata"]
    labels = metadata.get("labels") or {}
    owners: Iterable[Mapping[str, str]] = metadata.get("ownerReferences") or ()
    owner: Mapping[str, str] = next((each for each in owners if each.get("controller")), {})
    kind, name, uid = owner.get("kind", ""), owner.get("name", ""), owner.get("uid", "")
    ending = f"-{labels.get('pod-template-hash', '')}"
    if kind == "ReplicaSet" and len(ending) > 1 and name.endswith(ending):
        kind, name, uid = "Deployment", name.removesuffix(ending), ""
    return PodOrigin(labels.get(label, ""), kind, name, uid)


class Ledger:
    """Nodes by name and unfinished pods by key (`namespace/name`)."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeShape] = {}
        self._pods: dict[str, PodUse] = {}
        self._on_node: dict[str, set[str]] = {}
        self._pending: dict[str, PodUse] = {}
        self._gpus: dict[str, tuple[NodeGpus, ...]] = {}
        self._shared: dict[PodUse, PodUse] = {}
        self._origins: dict[str, PodOrigin] = {}

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self._nodes)

    @property
    def nodes_ready(self) -> int:
        """How many of them are ready."""
        return sum(node.ready for node in self._nodes.values())

    def gpus(self) -> Sequence[NodeGpus]:
        """Free GPUs per node and class, by node name."""
        return tuple(chain.from_iterable(self._gpus[name] for name in sorted(self._gpus)))

    def pending(self) -> Mapping[str, int]:
        """Devices that pods without a node ask for, by resource name."""
        return sum_gpus(self._pending.values())

    def gpu_pods(self) -> Iterable[tuple[str, PodUse, PodOrigin]]:
        """Pods with a node that ask for GPUs: key, what they ask for, what made them."""
        for key, origin in self._origins.items():
            use = self._pods.get(key)
            if use is not None and use.node and use.gpus:
                yield key, use, origin

    def put_node(self, node: NodeShape) -> bool:
        """A node appeared or changed; true if that matters to anybody."""
        before = self._nodes.get(node.name)
        self._nodes[node.name] = node
        return self._recompute(node.name) or before is None or before.ready != node.ready

    def remove_node(self, name: str) -> bool:
        """A node is gone; true if it was there."""
        self._gpus.pop(name, None)
        return self._nodes.pop(name, None) is not None

    def replace_nodes(self, nodes: Iterable[NodeShape]) -> bool:
        """These are all nodes there are."""
        current = {node.name: node for node in nodes}
        gone = [self.remove_node(name) for name in list(self._nodes) if name not in current]
        return any([*gone, *map(self.put_node, current.values())])

    def put_pod(self, key: str, use: PodUse | None, origin: PodOrigin | None = None) -> bool:
        """A pod appeared, changed or (None) finished; true if scheduling sees a difference.

        origin: kept of pods that ask for GPUs only.
        """
        if use is not None and use.gpus and origin is not None:
            self._origins[key] = origin
        elif use is None:
            self._origins.pop(key, None)
        before = self._pods.get(key)
        if before == use:
            return False
        changed = self._drop(key, before)
        if use is not None:
            # Pods of one kind ask for the same: a large cluster has few different values.
            use = self._shared.setdefault(use, use)
            self._pods[key] = use
            if use.node:
                self._on_node.setdefault(use.node, set()).add(key)
                changed |= self._recompute(use.node)
            elif use.gpus:
                self._pending[key] = use
                changed = True
        return changed

    def replace_pods(self, pods: Mapping[str, PodUse], origins: Mapping[str, PodOrigin] | None = None) -> bool:
        """These are all unfinished pods there are; origins: of those that ask for GPUs."""
        self._shared.clear()
        gone = [self.put_pod(key, None) for key in list(self._pods) if key not in pods]
        made_by = origins or {}
        return any([*gone, *(self.put_pod(key, use, made_by.get(key)) for key, use in pods.items())])

    def _drop(self, key: str, before: PodUse | None) -> bool:
        if before is None:
            return False
        del self._pods[key]
        if not before.node:
            return self._pending.pop(key, None) is not None
        here = self._on_node[before.node]
        here.discard(key)
        if not here:
            del self._on_node[before.node]
        return self._recompute(before.node)

    def _recompute(self, name: str) -> bool:
        node = self._nodes.get(name)
        if node is None:
            return False
        now = node_gpus(node, (self._pods[key] for key in self._on_node.get(name, ())))
        changed = now != self._gpus.get(name, ())
        if now:
            self._gpus[name] = now
        else:
            self._gpus.pop(name, None)
        return changed
