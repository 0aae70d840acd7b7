"""The port `Cluster`: everything an agent needs of the cluster it lives in.

Adapters: `kubernetes/` (real, over kubernetes.aio) and `simulated/` (in memory). The same contract
tests (`tests/contract/cluster.py`) run over both. An adapter keeps caches fed by watches; reading them
never waits. Whoever decides (`workloads/`, `capacity`) sees only the plain data of this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from arbora.capacity.gpus import NodeGpus
from arbora.kubernetes.failures import ClusterUnavailable as ClusterUnavailable
from arbora.kubernetes.failures import ObjectRejected as ObjectRejected
from arbora.manifests.objects import Manifest, ObjectRef
from arbora.secret import Secret
from arbora_agent.cluster.rights import Rights

LABEL_WORKLOAD = "arbora.dev/workload"
"""On every object that was applied for a workload: the workload's uid."""
ANNOTATION_GENERATION = "arbora.dev/generation"
"""The generation of the workload that the object was last applied for."""
FIELD_MANAGER = "arbora-agent"
"""Our name in server-side apply."""


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """Slow facts of the cluster."""

    uid: str
    """UID of the namespace kube-system."""
    version: str
    """gitVersion of the API server; empty until it is known."""
    nodes: int
    nodes_ready: int
    api_healthy: bool
    message: str = ""
    simulated: bool = False
    api_address: str = ""
    """host:port of the API server as the agent dials it; empty: there is none to dial."""
    api_ca_pem: bytes = b""
    """What verifies it; empty: the usual authorities do, or there is none."""
    properties: tuple[tuple[str, str], ...] = ()
    """The cluster's ClusterProperty objects, (name, value) by name, as far as `properties.bounded` takes them."""
    properties_left_out: tuple[str, ...] = ()
    """Names of those that it does not take."""
    properties_pending: bool = False
    """They have not been read yet."""


@dataclass(frozen=True, slots=True)
class OwnedObject:
    """An object in the cluster that carries our ownership label, as last seen by a watch or an apply."""

    ref: ObjectRef
    workload_uid: str
    generation: int
    """From the annotation; 0 if somebody removed it."""
    uid: str
    resource_version: str
    body: Mapping[str, Any]
    """The live object with its status, without managedFields."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A service account token as the API server issued it."""

    token: Secret
    lifetime: float
    """Actual seconds until it expires, which the API server may have cut or stretched."""


@dataclass(frozen=True, slots=True)
class ReviewedToken:
    """Whose token it is, as the API server says."""

    namespace: str
    service_account: str
    node: str
    """Of the pod that the token is bound to; empty: it is bound to none, or that has no node."""


@dataclass(frozen=True, slots=True, order=True)
class GpuPod:
    """An unfinished pod with a node that asks for GPUs."""

    node: str
    namespace: str
    name: str
    gpus: tuple[tuple[str, int], ...]
    """Devices by resource name."""
    workload_uid: str = ""
    """The workload whose object made it; empty: none of ours, or it can't be told."""


@dataclass(frozen=True, slots=True)
class NodeMark:
    """What is to be seen on a node object of the health of its GPUs."""

    taint: bool | None = None
    """Whether it has TAINT_KEY, with the effect NoSchedule; None: it is left alone."""
    condition: bool | None = None
    """Whether CONDITION_TYPE is True or False; None: it is left alone."""
    reason: str = ""
    message: str = ""


TAINT_KEY = "arbora.dev/gpu-unhealthy"
CONDITION_TYPE = "ArboraGpuUnhealthy"


class Cluster(Protocol):
    """The port. All methods are for one event loop; `run` must be running for the caches to live."""

    @property
    def namespace(self) -> str:
        """The agent's own namespace. Known once it is connected."""
        ...

    @property
    def rights(self) -> Rights:
        """What grants of rights need. Once it is connected; before, raises ClusterUnavailable."""
        ...

    async def connect(self) -> ClusterFacts:
        """Reach the API server once, learn uid and version. Raises ClusterUnavailable."""
        ...

    async def run(self) -> None:
        """Keep the caches fed until cancelled: nodes, pods, objects we own. Survives API server outages."""
        ...

    async def synced(self) -> None:
        """Return as soon as every cache has been filled once."""
        ...

    def subscribe(self, *, on_capacity: Callable[[], None], on_object: Callable[[ObjectRef, str], None]) -> None:
        """Register callbacks, called on the loop and never blocking: free GPUs or facts changed; the owned
        object (reference, workload uid) appeared, changed or vanished."""
        ...

    def facts(self) -> ClusterFacts:
        """The slow facts as known now."""
        ...

    def gpus(self) -> Sequence[NodeGpus]:
        """Free GPUs per node and class as known now, in a stable order."""
        ...

    def pending_gpus(self) -> Mapping[str, int]:
        """GPUs that pods without a node ask for, by resource name."""
        ...

    def gpu_pods(self) -> Sequence[GpuPod]:
        """Unfinished pods that have a node and ask for GPUs, sorted."""
        ...

    def owned(self, workload_uid: str) -> Sequence[OwnedObject]:
        """The objects of one workload as known now."""
        ...

    def owned_workloads(self) -> frozenset[str]:
        """Uids of all workloads that have objects here."""
        ...

    async def apply(self, manifest: Manifest, *, workload_uid: str, generation: int) -> OwnedObject:
        """Server-side apply under our field manager with our ownership label, taking conflicts over. An object
        without a namespace whose kind is namespaced goes to `default`. A repeat changes nothing.
        Refuses (ObjectRejected) to take over an object that belongs to another workload.
        Returns the live object, which is then in the cache, too. Raises ObjectRejected, ClusterUnavailable."""
        ...

    async def delete(self, target: OwnedObject) -> None:
        """Delete exactly this object (precondition: its uid), in the background. Gone already is fine.
        Raises ObjectRejected, ClusterUnavailable."""
        ...

    async def mint_token(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> MintedToken:
        """A TokenRequest token. Raises ObjectRejected (no such account, not allowed), ClusterUnavailable."""
        ...

    async def review_token(self, token: Secret, audience: str) -> ReviewedToken:
        """Whose token this is, which must be for `audience`. Raises ObjectRejected if it is no good, or if this
        agent may not ask; ClusterUnavailable."""
        ...

    async def mark_node(self, node: str, mark: NodeMark) -> None:
        """Show a mark on a node; a repeat changes nothing. Raises ObjectRejected (no such node, not allowed),
        ClusterUnavailable."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
