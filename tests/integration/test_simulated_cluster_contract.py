"""The contract of the port `Cluster`, over the simulated adapter with a clock that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from arbora.clock import ManualClock
from arbora.manifests.objects import Gvk, ObjectRef
from arbora.secret import Secret
from arbora_agent.cluster.port import CONDITION_TYPE, Cluster
from arbora_agent.cluster.simulated import SimulatedCluster, SimulatedNode, Simulation
from tests.contract.cluster import ClusterContract
from tests.contract.cluster_nodes import ClusterNodesContract
from tests.contract.rights import RightsContract


class SimulatedWorld:
    """A `World` of its own for each test."""

    namespace = "contract"

    def __init__(self) -> None:
        self.simulation = Simulation("2x8xA100", name="contract", clock=ManualClock())
        self.simulation.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}})
        self._names = 0
        self._running: dict[SimulatedCluster, asyncio.Task[None]] = {}

    def name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}-{self._names}"

    async def cluster(self) -> Cluster:
        cluster = SimulatedCluster(self.simulation)
        await cluster.connect()
        self._running[cluster] = asyncio.create_task(cluster.run())
        await cluster.synced()
        return cluster

    async def stop(self, cluster: Cluster) -> None:
        assert isinstance(cluster, SimulatedCluster)
        task = self._running.pop(cluster)
        task.cancel()
        await asyncio.wait([task])
        await cluster.close()

    async def stop_all(self) -> None:
        for cluster in tuple(self._running):
            await self.stop(cluster)

    async def create(self, manifest: Mapping[str, Any]) -> None:
        self.simulation.create(manifest)

    async def change(self, ref: ObjectRef, merge: Mapping[str, Any]) -> None:
        self.simulation.change(ref, merge)

    async def remove(self, ref: ObjectRef) -> None:
        self.simulation.remove(ref)

    async def read(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        return self.simulation.read(ref)

    async def add_node(self, name: str, *, gpus: int, product: str) -> None:
        self.simulation.add_node(SimulatedNode(name, product, gpus))

    async def cordon(self, name: str) -> None:
        self.simulation.cordon(name)

    async def run_pod(self, name: str, *, gpus: int, node: str) -> None:
        container = {"name": "main", "image": "busy", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
        spec = {"containers": [container], **({"nodeName": node} if node else {})}
        metadata = {"name": name, "namespace": self.namespace}
        self.simulation.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    async def finish_pod(self, name: str) -> None:
        self.simulation.finish(ObjectRef(Gvk("v1", "Pod"), self.namespace, name))

    async def token(self, account: str, audience: str, node: str) -> Secret:
        return self.simulation.tokens.mint(self.namespace, account, f"uid-of-{account}", [audience], 3600, node)

    async def shown(self, node: str) -> tuple[bool, bool | None]:
        (found,) = [each for each in self.simulation.nodes if each.name == node]
        condition = dict(found.conditions).get(CONDITION_TYPE)
        return found.tainted, None if condition is None else condition == "True"

    async def start_job(self, ref: ObjectRef, node: str) -> None:
        self.simulation.step()

    async def finish_job(self, ref: ObjectRef) -> None:
        self.simulation.finish(ref)


class TestSimulatedCluster(ClusterContract, ClusterNodesContract, RightsContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[SimulatedWorld]:
        world = SimulatedWorld()
        yield world
        await world.stop_all()
