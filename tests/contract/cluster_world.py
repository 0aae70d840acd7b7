"""The world around a cluster under test, and the means to wait for and to describe what happens in it.

For: `cluster.py` beside this module (the contract) and the adapters' own tests. A `World` is what an
adapter's tests implement; nothing here looks at how an adapter works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from arbora.capacity.gpus import NodeGpus
from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import Cluster, OwnedObject

CONFIG_MAP = Gvk("v1", "ConfigMap")
JOB = Gvk("batch/v1", "Job")
PRODUCT = "NVIDIA-H100-80GB-HBM3"
DEADLINE = 10.0
"""Seconds that a condition may take to become true."""


class World(Protocol):
    """A cluster as its users and its machines see it, around the adapter under test."""

    namespace: str
    """A namespace that exists and that no other test uses."""

    def name(self, stem: str) -> str:
        """A name that no other test uses, for what is not inside `namespace`."""
        ...

    async def cluster(self) -> Cluster:
        """A new adapter on this cluster: connected, running and synced. The fixture stops it at the end."""
        ...

    async def stop(self, cluster: Cluster) -> None:
        """Stop one adapter as an agent that ends would."""
        ...

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """Somebody else creates an object; its namespace is written in it."""
        ...

    async def change(self, ref: ObjectRef, merge: Mapping[str, Any]) -> None:
        """Somebody else changes an object (JSON merge patch)."""
        ...

    async def remove(self, ref: ObjectRef) -> None:
        """Somebody else deletes an object; it is gone on return."""
        ...

    async def read(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """The object as it is stored now."""
        ...

    async def add_node(self, name: str, *, gpus: int, product: str) -> None:
        """A ready node with `gpus` NVIDIA devices of `product` joins."""
        ...

    async def cordon(self, name: str) -> None:
        """Close a node for new pods."""
        ...

    async def run_pod(self, name: str, *, gpus: int, node: str) -> None:
        """A pod in `namespace`, not ours, that runs on `node`; with an empty `node` it finds no place."""
        ...

    async def finish_pod(self, name: str) -> None:
        """That pod succeeds."""
        ...

    async def start_job(self, ref: ObjectRef, node: str) -> None:
        """The pods of an applied Job run on `node`."""
        ...

    async def finish_job(self, ref: ObjectRef) -> None:
        """The pods of that Job succeed, and the Job controller notices."""
        ...


class Changes:
    """Waits for conditions on what a cluster tells, waking on its callbacks only."""

    def __init__(self, cluster: Cluster) -> None:
        self.objects: list[tuple[ObjectRef, str]] = []
        self._changed = asyncio.Event()
        cluster.subscribe(on_capacity=self._changed.set, on_object=self._on_object)

    def _on_object(self, ref: ObjectRef, workload_uid: str) -> None:
        self.objects.append((ref, workload_uid))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` holds; fail if no callback makes it true in time."""
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def config_map(world: World, name: str = "settings", **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": world.namespace},
        "data": data or {"colour": "green"},
    }


def gpu_job(world: World, name: str, gpus: int) -> dict[str, Any]:
    container = {
        "name": "train",
        "image": "registry.invalid/train:1",
        "resources": {"limits": {"nvidia.com/gpu": str(gpus)}},
    }
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"nvidia.com/gpu.product": PRODUCT},
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"template": {"spec": pod}},
    }


def on_node(cluster: Cluster, node: str) -> NodeGpus | None:
    found = [gpus for gpus in cluster.gpus() if gpus.node == node]
    assert len(found) <= 1
    return found[0] if found else None


def requested(cluster: Cluster, node: str) -> int:
    gpus = on_node(cluster, node)
    return -1 if gpus is None else gpus.requested


def only(objects: object) -> OwnedObject:
    assert isinstance(objects, (list, tuple))
    assert len(objects) == 1
    found = objects[0]
    assert isinstance(found, OwnedObject)
    return found


def true_conditions(owned: OwnedObject) -> set[str]:
    conditions = owned.body.get("status", {}).get("conditions", [])
    return {each["type"] for each in conditions if each["status"] == "True"}
