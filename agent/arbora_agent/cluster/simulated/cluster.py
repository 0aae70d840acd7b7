"""The port `Cluster` on a simulation: what an agent sees of it through watches that may fall silent.

Like a real agent's, the caches here show what a watch last told: while the API server is made to fail they stand
still, and afterwards they catch up. No rule of the cluster stands here; those are in the pure modules beside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from arbora.capacity.gpus import NodeGpus
from arbora.clock import wait_for
from arbora.manifests.objects import Manifest, ObjectRef
from arbora.secret import Secret
from arbora_agent.cluster.port import (
    ANNOTATION_GENERATION,
    LABEL_WORKLOAD,
    ClusterFacts,
    GpuPod,
    MintedToken,
    NodeMark,
    ObjectRejected,
    OwnedObject,
    ReviewedToken,
)
from arbora_agent.cluster.simulated.fleet import (
    CPU_MILLIS_PER_GPU,
    GPU_RESOURCE,
    MEMORY_MIB_PER_GPU,
)
from arbora_agent.cluster.simulated.objects import Key
from arbora_agent.cluster.simulated.rights import SimulatedRights
from arbora_agent.cluster.simulated.simulation import VERSION, Simulation

NAMESPACE = "arbora-system"

OnObject = Callable[[ObjectRef, str], None]


@dataclass(frozen=True, slots=True)
class _Capacity:
    """What the watches on nodes and pods last told."""

    gpus: tuple[NodeGpus, ...]
    pending: tuple[tuple[str, int], ...]
    facts: ClusterFacts
    pods: tuple[GpuPod, ...] = ()

    @classmethod
    def of(cls, simulation: Simulation) -> _Capacity:
        """As it is now."""
        nodes, requested = simulation.nodes, simulation.requested()
        facts = ClusterFacts(
            uid=str(simulation.uid),
            version=VERSION,
            nodes=len(nodes),
            nodes_ready=sum(node.ready and not node.cordoned for node in nodes),
            api_healthy=simulation.api_healthy,
            message=simulation.down_message,
            simulated=True,
            properties=simulation.properties[0],
            properties_left_out=simulation.properties[1],
        )
        gpus = tuple(
            NodeGpus(
                node=node.name,
                gpu_class=node.gpu_class,
                capacity=node.gpus,
                allocatable=node.gpus,
                requested=requested.get((node.name, GPU_RESOURCE), 0),
                usable=node.ready and not node.cordoned and not node.tainted,
                free_cpu_millis=CPU_MILLIS_PER_GPU * node.gpus,
                free_memory_mib=MEMORY_MIB_PER_GPU * node.gpus,
            )
            for node in nodes
        )
        return cls(gpus, tuple(sorted(simulation.pending().items())), facts, simulation.gpu_pods())


class SimulatedCluster:
    """One agent's view of a simulation. Implements the port `Cluster`."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self._on_capacity: list[Callable[[], None]] = []
        self._on_object: list[OnObject] = []
        self._owned: dict[Key, OwnedObject] = {}
        self._capacity = _Capacity.of(simulation)
        self._wake = asyncio.Event()
        self._synced = asyncio.Event()
        self._missed = False

    @property
    def namespace(self) -> str:
        """The agent's own namespace, in name only."""
        return NAMESPACE

    @property
    def rights(self) -> SimulatedRights:
        """What grants of rights need."""
        return SimulatedRights(self.simulation, NAMESPACE)

    async def connect(self) -> ClusterFacts:
        """Reach the API server once. Raises ClusterUnavailable."""
        await self._answer()
        return self.facts()

    async def run(self) -> None:
        """Keep the caches fed, and time in the simulation passing, until cancelled."""
        end_watch = self.simulation.watch(self._on_change)
        try:
            self._missed = True
            self._catch_up()
            while True:
                self.simulation.step()
                self._catch_up()
                self._wake.clear()
                await wait_for(self._wake, self.simulation.clock, self.simulation.next_moment())
        finally:
            end_watch()

    async def synced(self) -> None:
        """Return as soon as the caches have been filled once."""
        await self._synced.wait()

    def subscribe(self, *, on_capacity: Callable[[], None], on_object: OnObject) -> None:
        """Register callbacks, called on the loop."""
        self._on_capacity.append(on_capacity)
        self._on_object.append(on_object)

    def facts(self) -> ClusterFacts:
        """The slow facts as known now."""
        return self._capacity.facts

    def gpus(self) -> Sequence[NodeGpus]:
        """Free GPUs per node as known now, by node name."""
        return self._capacity.gpus

    def pending_gpus(self) -> Mapping[str, int]:
        """GPUs that waiting pods ask for, by resource name."""
        return dict(self._capacity.pending)

    def gpu_pods(self) -> Sequence[GpuPod]:
        """Running pods that ask for GPUs, sorted."""
        return self._capacity.pods

    def owned(self, workload_uid: str) -> Sequence[OwnedObject]:
        """The objects of one workload as known now."""
        return tuple(each for each in self._owned.values() if each.workload_uid == workload_uid)

    def owned_workloads(self) -> frozenset[str]:
        """Uids of all workloads that have objects here."""
        return frozenset(each.workload_uid for each in self._owned.values())

    async def apply(self, manifest: Manifest, *, workload_uid: str, generation: int) -> OwnedObject:
        """Server-side apply; see the port. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        key = self.simulation.apply(manifest, workload_uid, generation)
        self._refresh(key)
        return self._owned[key]

    async def delete(self, target: OwnedObject) -> None:
        """Delete exactly this object. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        self.simulation.delete(target.ref, target.uid)

    async def mint_token(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> MintedToken:
        """A token of an existing service account. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        account = self.simulation.get(Key("", "ServiceAccount", namespace, service_account))
        if account is None:
            raise ObjectRejected(f'serviceaccounts "{service_account}" not found')
        uid = account["metadata"]["uid"]
        token = self.simulation.tokens.mint(namespace, service_account, uid, audiences, seconds)
        return MintedToken(token=token, lifetime=float(seconds))

    async def review_token(self, token: Secret, audience: str) -> ReviewedToken:
        """Whose token this is. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        return self.simulation.tokens.review(token, audience)

    async def mark_node(self, node: str, mark: NodeMark) -> None:
        """Show a mark on a node. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        self.simulation.mark(node, mark)

    async def close(self) -> None:
        """Nothing to release."""

    async def _answer(self) -> None:
        """One turn of the loop, as any real request takes at least, then the API server's mood."""
        await asyncio.sleep(0)
        self.simulation.check_api()

    def _on_change(self, changed: Sequence[Key]) -> None:
        self._wake.set()
        if self._missed or not self.simulation.api_healthy:
            self._missed = True  # the watch is cut: look at everything once it is back
            self._catch_up()
            return
        for key in changed:
            self._refresh(key)
        self._refresh_capacity()

    def _catch_up(self) -> None:
        if not self.simulation.api_healthy:
            self._refresh_capacity()
            return
        if self._missed:
            self._missed = False
            for key in dict.fromkeys((*self._owned, *self.simulation.places())):
                self._refresh(key)
        self._refresh_capacity()
        self._synced.set()

    def _refresh(self, key: Key) -> None:
        """Show one object as it is, and tell if that is news."""
        before, after = self._owned.get(key), self._look(key)
        if before == after:
            return
        if after is None:
            self._owned.pop(key)
        else:
            self._owned[key] = after
        told = {each.workload_uid: each.ref for each in (before, after) if each is not None}
        for workload_uid, ref in told.items():
            for callback in self._on_object:
                callback(ref, workload_uid)

    def _look(self, key: Key) -> OwnedObject | None:
        body = self.simulation.get(key)
        if body is None:
            return None
        metadata = body["metadata"]
        workload_uid = (metadata.get("labels") or {}).get(LABEL_WORKLOAD, "")
        if not workload_uid:
            return None
        generation = (metadata.get("annotations") or {}).get(ANNOTATION_GENERATION, "")
        return OwnedObject(
            ref=self.simulation.ref(key),
            workload_uid=workload_uid,
            generation=int(generation) if generation.isdecimal() else 0,
            uid=metadata["uid"],
            resource_version=metadata["resourceVersion"],
            body=body,
        )

    def _refresh_capacity(self) -> None:
        before, now = self._capacity, _Capacity.of(self.simulation)
        if not now.facts.api_healthy:
            # the watches on nodes and pods are cut, too: only the outage itself is news
            facts = replace(before.facts, api_healthy=False, message=now.facts.message)
            now = replace(before, facts=facts)
        if now != before:
            self._capacity = now
            for callback in self._on_capacity:
                callback()
