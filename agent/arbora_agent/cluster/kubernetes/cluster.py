"""`KubernetesCluster`: the port `Cluster` over a Kubernetes API server.

For: the agent's composition root. Wires the parts of this package together and holds the tasks: one
reflector each for nodes, pods, cluster properties and every kind that was ever applied, and a probe that
notices an API server that hangs. Decides nothing by itself: what is written is `writer.py`, what is free is
`ledger.py`.

    cluster = KubernetesCluster(in_cluster())
    await cluster.connect()
    async with asyncio.TaskGroup() as group:
        group.create_task(cluster.run())
        await cluster.synced()
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from arbora.capacity.gpus import NodeGpus
from arbora.errors import InvalidInput
from arbora.kubernetes.access import Access, AccessSource
from arbora.kubernetes.api import DEADLINE, ApiServer
from arbora.kubernetes.discovery import Discovery
from arbora.kubernetes.failures import failure
from arbora.kubernetes.reflector import Reflector, Sink
from arbora.manifests.objects import Gvk, Manifest, ObjectRef
from arbora.secret import Secret
from arbora_agent.cluster.kubernetes.kinds import AppliedKinds
from arbora_agent.cluster.kubernetes.ledger import Ledger
from arbora_agent.cluster.kubernetes.node_marks import show_mark
from arbora_agent.cluster.kubernetes.owned import GroupKind, OwnedObjects
from arbora_agent.cluster.kubernetes.properties import CLUSTER_PROPERTY, PropertySink
from arbora_agent.cluster.kubernetes.rights import KubernetesRights
from arbora_agent.cluster.kubernetes.sinks import POD_SELECTOR, NodeSink, OwnedSink, PodSink
from arbora_agent.cluster.kubernetes.tokens import mint, review
from arbora_agent.cluster.kubernetes.writer import Writer
from arbora_agent.cluster.port import (
    LABEL_WORKLOAD,
    ClusterFacts,
    ClusterUnavailable,
    GpuPod,
    MintedToken,
    NodeMark,
    ObjectRejected,
    OwnedObject,
    ReviewedToken,
)

log = structlog.get_logger(__name__)

PROPERTIES = "clusterproperties"
PROBE = 10.0
"""Seconds between two questions for the API server's version, which also tell whether it answers."""


class KubernetesCluster:
    """One real cluster. `deadline`: seconds for one request to the API server."""

    def __init__(
        self, access: AccessSource, *, deadline: float = DEADLINE, rng: random.Random | None = None
    ) -> None:
        self._source = access
        self._deadline = deadline
        self._rng = rng or random.Random()
        self._uid = ""
        self._version = ""
        self._ledger = Ledger()
        self._objects = OwnedObjects()
        self._properties = PropertySink(self._capacity_changed)
        self._on_capacity: list[Callable[[], None]] = []
        self._on_object: list[Callable[[ObjectRef, str], None]] = []
        self._connected: _Connected | None = None
        self._reflectors: dict[GroupKind | str, Reflector] = {}
        self._group: asyncio.TaskGroup | None = None
        self._recording = asyncio.Lock()
        self._kinds_loaded = asyncio.Event()

    @property
    def namespace(self) -> str:
        """The agent's own namespace."""
        return self._here.namespace

    @property
    def rights(self) -> KubernetesRights:
        """What grants of rights need. Raises ClusterUnavailable before it is connected."""
        return self._here.rights

    async def connect(self) -> ClusterFacts:
        """Reach the API server once, learn uid and version. Raises ClusterUnavailable, InvalidInput."""
        if self._connected is None:
            access = await self._source()
            api = ApiServer(access, deadline=self._deadline, on_health=self._capacity_changed)
            self._connected = _Connected(api, access, self._objects)
            self._reflect("nodes", _always("/api/v1/nodes"), NodeSink(self._ledger, self._capacity_changed))
            pods = PodSink(self._ledger, self._capacity_changed)
            self._reflect("pods", _always("/api/v1/pods"), pods, POD_SELECTOR)
            self._reflect(PROPERTIES, self._path_of(CLUSTER_PROPERTY), self._properties)
        await self._learn_version()
        answer = await self._here.api.request("GET", "/api/v1/namespaces/kube-system")
        if not answer.ok:
            refused = failure(answer.status, answer.body, "namespace kube-system")
            raise ClusterUnavailable(refused.message, hint="Does the agent's service account have its rights?")
        self._uid = answer.body["metadata"]["uid"]
        log.info("cluster_connected", uid=self._uid, version=self._version)
        return self.facts()

    async def run(self) -> None:
        """Keep the caches fed until cancelled. Call `connect` before."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for reflector in self._reflectors.values():
                    group.create_task(reflector.run())
                group.create_task(self._probe())
                await self._load_kinds()
        finally:
            self._group = None

    async def synced(self) -> None:
        """Return as soon as every cache has been filled once."""
        await self._kinds_loaded.wait()
        for reflector in list(self._reflectors.values()):
            await reflector.synced.wait()

    def subscribe(self, *, on_capacity: Callable[[], None], on_object: Callable[[ObjectRef, str], None]) -> None:
        """Register callbacks; see the port."""
        self._on_capacity.append(on_capacity)
        self._on_object.append(on_object)

    def facts(self) -> ClusterFacts:
        """The slow facts as known now."""
        here = self._connected
        return ClusterFacts(
            uid=self._uid,
            version=self._version,
            nodes=self._ledger.nodes,
            nodes_ready=self._ledger.nodes_ready,
            api_healthy=here is not None and here.api.healthy,
            message=here.api.trouble if here is not None else "not connected yet",
            api_address=here.address if here is not None else "",
            api_ca_pem=here.ca_pem if here is not None else b"",
            properties=self._properties.bounded[0],
            properties_left_out=self._properties.bounded[1],
            properties_pending=here is None or not self._reflectors[PROPERTIES].synced.is_set(),
        )

    def gpus(self) -> Sequence[NodeGpus]:
        """Free GPUs per node and class, by node name."""
        return self._ledger.gpus()

    def pending_gpus(self) -> Mapping[str, int]:
        """GPUs that pods without a node ask for, by resource name."""
        return self._ledger.pending()

    def gpu_pods(self) -> Sequence[GpuPod]:
        """Unfinished pods that have a node and ask for GPUs, sorted."""
        found = []
        for key, use, origin in self._ledger.gpu_pods():
            namespace, _, name = key.partition("/")
            workload = origin.workload_uid or self._objects.workload_of(
                origin.owner_kind, namespace, origin.owner_name, origin.owner_uid
            )
            found.append(GpuPod(use.node, namespace, name, use.gpus, workload))
        return sorted(found)

    def owned(self, workload_uid: str) -> Sequence[OwnedObject]:
        """The objects of one workload as known now."""
        return self._objects.of(workload_uid)

    def owned_workloads(self) -> frozenset[str]:
        """Uids of all workloads that have objects here."""
        return self._objects.workloads()

    async def apply(self, manifest: Manifest, *, workload_uid: str, generation: int) -> OwnedObject:
        """Server-side apply; see the port. Raises ObjectRejected, ClusterUnavailable."""
        here = self._here
        ref, resource = await here.writer.locate(manifest)
        if (ref.gvk.group, ref.gvk.kind) not in self._reflectors:
            await self._record(ref.gvk)
        applied = await here.writer.apply(manifest, ref, resource, workload_uid, generation)
        for told in self._objects.put(applied):
            self._object_changed(*told)
        if ref.gvk.kind == "CustomResourceDefinition":
            spec = manifest.get("spec") or {}
            here.discovery.expect(spec.get("group", ""), (spec.get("names") or {}).get("kind", ""))
        return applied

    async def delete(self, target: OwnedObject) -> None:
        """Delete exactly this object; see the port. Raises ObjectRejected, ClusterUnavailable."""
        await self._here.writer.delete(target)

    async def mint_token(
        self, namespace: str, service_account: str, audiences: Sequence[str], seconds: int
    ) -> MintedToken:
        """A TokenRequest token. Raises ObjectRejected, ClusterUnavailable."""
        return await mint(self._here.api, namespace, service_account, audiences, seconds)

    async def review_token(self, token: Secret, audience: str) -> ReviewedToken:
        """Whose token this is. Raises ObjectRejected, ClusterUnavailable."""
        return await review(self._here.api, token, audience)

    async def mark_node(self, node: str, mark: NodeMark) -> None:
        """Show a mark on a node. Raises ObjectRejected, ClusterUnavailable."""
        await show_mark(self._here.api, node, mark)

    async def close(self) -> None:
        """Release connections."""
        if self._connected is not None:
            await self._connected.api.close()

    @property
    def _here(self) -> _Connected:
        if self._connected is None:
            raise ClusterUnavailable("not connected to the API server yet", hint="Call connect() first.")
        return self._connected

    async def _learn_version(self) -> None:
        answer = await self._here.api.request("GET", "/version")
        if not answer.ok:
            raise failure(answer.status, answer.body, "the API server's version")
        version = str(answer.body.get("gitVersion", ""))
        if version != self._version:
            self._version = version
            self._capacity_changed()

    async def _probe(self) -> None:
        while True:
            await asyncio.sleep(PROBE)
            try:
                await self._learn_version()
            except (ClusterUnavailable, ObjectRejected) as error:
                # The API's health has noted it, and the reflectors go on by themselves.
                log.info("probe_failed", why=error.message)

    async def _load_kinds(self) -> None:
        """Watch every kind on record. Tries until the record was read: without it, owned objects stay unseen."""
        pause = 0.1
        while True:
            try:
                for gvk in await self._here.kinds.load():
                    self._reflect_kind(gvk)
                self._kinds_loaded.set()
                return
            except (ClusterUnavailable, ObjectRejected, InvalidInput) as error:
                log.warning("kinds_unread", why=error.message)
                await asyncio.sleep(self._rng.uniform(0, pause))
                pause = min(30.0, 2 * pause)

    async def _record(self, gvk: Gvk) -> None:
        """Record a kind that was never applied before, then watch it."""
        async with self._recording:
            if (gvk.group, gvk.kind) not in self._reflectors:
                await self._here.kinds.record(gvk)
                self._reflect_kind(gvk)

    def _reflect_kind(self, gvk: Gvk) -> None:
        if (gvk.group, gvk.kind) not in self._reflectors:
            sink = OwnedSink(self._objects, gvk, self._object_changed)
            selector = {"labelSelector": LABEL_WORKLOAD}
            self._reflect((gvk.group, gvk.kind), self._path_of(gvk), sink, selector, str(gvk))

    def _path_of(self, gvk: Gvk) -> Callable[[], Awaitable[str | None]]:
        async def path() -> str | None:
            resource = await self._here.discovery.any_version(gvk)
            return resource.path() if resource else None

        return path

    def _reflect(
        self,
        key: GroupKind | str,
        path: Callable[[], Awaitable[str | None]],
        sink: Sink,
        selector: Mapping[str, str] | None = None,
        name: str = "",
    ) -> None:
        reflector = Reflector(self._here.api, name or str(key), path, sink, selector=selector, rng=self._rng)
        self._reflectors[key] = reflector
        if self._group is not None:
            self._group.create_task(reflector.run())

    def _capacity_changed(self) -> None:
        for callback in self._on_capacity:
            callback()

    def _object_changed(self, ref: ObjectRef, workload_uid: str) -> None:
        for callback in self._on_object:
            callback(ref, workload_uid)


class _Connected:
    """What exists only once the access to the API server is known."""

    def __init__(self, api: ApiServer, access: Access, objects: OwnedObjects) -> None:
        self.api = api
        self.namespace = access.namespace
        self.address, self.ca_pem = access.address, access.ca_pem()
        self.discovery = Discovery(api)
        self.kinds = AppliedKinds(api, access.namespace)
        self.writer = Writer(api, self.discovery, objects)
        self.rights = KubernetesRights(api, access.namespace)


def _always(path: str) -> Callable[[], Awaitable[str | None]]:
    async def same() -> str | None:
        return path

    return same
