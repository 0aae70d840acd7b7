"""Plays the kubelet, the scheduler and the other users of a test cluster, through its API.

For: the tests and the benchmarks over `controlplane.py`. `Driver` speaks as admin; `KubernetesWorld` is the
`World` of `tests/contract/cluster.py` on top of it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp

from arbora.kubernetes.access import AccessSource
from arbora.manifests.objects import ObjectRef
from arbora.secret import Secret
from arbora_agent.cluster.kubernetes import KubernetesCluster
from arbora_agent.cluster.port import CONDITION_TYPE, TAINT_KEY, Cluster
from tests.envtest.controlplane import ControlPlane

_numbers = itertools.count(1)

COLLECTIONS = {
    "ConfigMap": "/api/v1",
    "Namespace": "/api/v1",
    "Node": "/api/v1",
    "Pod": "/api/v1",
    "Service": "/api/v1",
    "ServiceAccount": "/api/v1",
    "Secret": "/api/v1",
    "Job": "/apis/batch/v1",
    "Deployment": "/apis/apps/v1",
    "DaemonSet": "/apis/apps/v1",
    "NetworkPolicy": "/apis/networking.k8s.io/v1",
    "Role": "/apis/rbac.authorization.k8s.io/v1",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1",
}
"""Kinds that the driver knows; it asks no discovery, so that it shares nothing with what it tests."""


class ApiAnswer(RuntimeError):
    """The API server refused what a test set up."""


RESTRICTED_POD = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""What Pod Security (restricted) asks for."""


class Driver:
    """The admin of one control plane. Use as an async context."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        context.load_cert_chain(plane.folder / "admin.crt", plane.folder / "admin.key")
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    async def __aenter__(self) -> Driver:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        missing_is_fine: bool = False,
    ) -> dict[str, Any]:
        """One request; an empty dict for a 404 that is fine. Raises ApiAnswer."""
        async with self._session.request(
            method,
            self._plane.server + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            timeout=aiohttp.ClientTimeout(total=10),
        ) as response:
            if response.status == 404 and missing_is_fine:
                return {}
            answer: dict[str, Any] = await response.json()
            if response.status >= 300:
                raise ApiAnswer(f"{method} {path}: {answer.get('message', response.status)}")
            return answer

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; its namespace is written in it."""
        namespace = manifest["metadata"].get("namespace", "")
        return await self.ask("POST", collection(manifest["kind"], namespace), manifest)

    async def merge(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """JSON merge patch."""
        return await self.ask("PATCH", path, change, content_type="application/merge-patch+json")

    async def namespace(self, name: str) -> None:
        """A namespace in which pods can be made at once."""
        await self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        if self._plane.controllers:
            account = f"/api/v1/namespaces/{name}/serviceaccounts"
            await self.until(account, lambda items: any(each["metadata"]["name"] == "default" for each in items))

    async def node(self, name: str, *, gpus: int, product: str, labels: Mapping[str, str] | None = None) -> None:
        """A ready node with NVIDIA devices, labelled as GPU feature discovery does."""
        own = {"nvidia.com/gpu.product": product, "nvidia.com/gpu.count": str(gpus), **(labels or {})}
        manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": own}}
        offered = {"cpu": "64", "memory": "512Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {"capacity": offered, "allocatable": offered, "conditions": [ready]}
        await self.create({**manifest, "status": status})

    async def runtime_class(self, name: str) -> None:
        """As the GPU operator does."""
        path = f"/apis/node.k8s.io/v1/runtimeclasses/{name}"
        if not await self.ask("GET", path, missing_is_fine=True):
            manifest = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}}
            await self.ask("POST", "/apis/node.k8s.io/v1/runtimeclasses", {**manifest, "handler": name})

    async def pod(self, namespace: str, name: str, *, gpus: int, node: str = "") -> None:
        """A pod that asks for GPUs, on `node` or on none."""
        await self.create(pod_manifest(namespace, name, gpus=gpus, node=node))

    async def bind(self, namespace: str, pod: str, node: str) -> None:
        """What the scheduler does."""
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        await self.ask("POST", f"/api/v1/namespaces/{namespace}/pods/{pod}/binding", binding)

    async def phase(self, namespace: str, pod: str, phase: str) -> None:
        """What the kubelet reports: Running, Succeeded or Failed."""
        status: dict[str, Any] = {"phase": phase}
        if phase == "Running":
            status["conditions"] = [{"type": "Ready", "status": "True"}]
        await self.merge(f"/api/v1/namespaces/{namespace}/pods/{pod}/status", {"status": status})

    async def token(self, namespace: str, account: str, audience: str, node: str = "") -> Secret:
        """A token of an account, which is made if need be; bound to a new pod on `node`, if one is given."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}"
        if not await self.ask("GET", path, missing_is_fine=True):
            await self.create(_named("ServiceAccount", namespace, account))
        spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 3600}
        if node:
            manifest = pod_manifest(namespace, f"{account}-on-{node}", gpus=0, node=node)
            manifest["spec"] |= {"serviceAccountName": account, "securityContext": RESTRICTED_POD}
            manifest["spec"]["containers"][0]["securityContext"] = RESTRICTED_CONTAINER
            pod = await self.create(manifest)
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return Secret((await self.ask("POST", f"{path}/token", asked))["status"]["token"])

    async def pods_of_job(self, namespace: str, job: str) -> list[str]:
        """The names of the pods that the Job controller made; waits for the first."""
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=batch.kubernetes.io/job-name={job}"
        found = await self.until(path, bool)
        return [each["metadata"]["name"] for each in found]

    async def until(
        self, path: str, condition: Callable[[Sequence[Any]], bool], seconds: float = 10.0
    ) -> Sequence[Any]:
        """The items of a collection once `condition` holds of them; looks again at every event of its watch."""
        async with asyncio.timeout(seconds):
            while True:
                listed = await self.ask("GET", path)
                if condition(listed["items"]):
                    return list(listed["items"])
                await self._next_event(path, listed["metadata"]["resourceVersion"])

    async def watch(self, path: str, version: str) -> AsyncIterator[dict[str, Any]]:
        """The events of one watch."""
        url = f"{self._plane.server}{path}?watch=1&resourceVersion={version}&timeoutSeconds=300"
        async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as response:
            async for line in response.content:
                yield json.loads(line)

    async def _next_event(self, path: str, version: str) -> None:
        joint = "&" if "?" in path else "?"
        url = f"{self._plane.server}{path}{joint}watch=1&resourceVersion={version}&timeoutSeconds=5"
        async with self._session.get(url) as response:
            await response.content.readany()
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.abort()


class KubernetesWorld:
    """The contract's world on a control plane. `access`: the access of the agents under test."""

    def __init__(self, driver: Driver, access: AccessSource | None = None) -> None:
        self.driver = driver
        self.access = access
        self.namespace = self.name("team")
        self._running: dict[Cluster, asyncio.Task[None]] = {}

    async def __aenter__(self) -> KubernetesWorld:
        await self.driver.namespace(self.namespace)
        return self

    async def __aexit__(self, *_: object) -> None:
        for cluster in list(self._running):
            await self.stop(cluster)

    def name(self, stem: str) -> str:
        """A name that no other test uses."""
        return f"{stem}-{next(_numbers)}"

    async def cluster(self) -> Cluster:
        """A new adapter, connected, running and synced."""
        assert self.access is not None
        cluster: Cluster = KubernetesCluster(self.access)
        try:
            await cluster.connect()
            self._running[cluster] = asyncio.create_task(cluster.run())
            async with asyncio.timeout(10):
                await cluster.synced()
        except BaseException:
            await self.stop(cluster)
            raise
        return cluster

    async def stop(self, cluster: Cluster) -> None:
        """Stop one adapter."""
        if (task := self._running.pop(cluster, None)) is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()
        await cluster.close()

    async def create(self, manifest: Mapping[str, Any]) -> None:
        """As admin."""
        await self.driver.create(manifest)

    async def change(self, ref: ObjectRef, merge: Mapping[str, Any]) -> None:
        """As admin."""
        await self.driver.merge(object_path(ref), merge)

    async def remove(self, ref: ObjectRef) -> None:
        """As admin, at once."""
        await self.driver.ask("DELETE", object_path(ref))

    async def read(self, ref: ObjectRef) -> Mapping[str, Any] | None:
        """As admin."""
        return await self.driver.ask("GET", object_path(ref), missing_is_fine=True) or None

    async def add_node(self, name: str, *, gpus: int, product: str) -> None:
        """As a kubelet."""
        await self.driver.node(name, gpus=gpus, product=product)

    async def cordon(self, name: str) -> None:
        """As admin."""
        await self.driver.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})

    async def run_pod(self, name: str, *, gpus: int, node: str) -> None:
        """As a user, scheduler and kubelet."""
        await self.driver.pod(self.namespace, name, gpus=gpus, node=node)
        if node:
            await self.driver.phase(self.namespace, name, "Running")

    async def finish_pod(self, name: str) -> None:
        """As the kubelet."""
        await self.driver.phase(self.namespace, name, "Succeeded")

    async def token(self, account: str, audience: str, node: str) -> Secret:
        """As the kubelet, which mounts it into a pod; as admin for no node."""
        return await self.driver.token(self.namespace, account, audience, node)

    async def shown(self, node: str) -> tuple[bool, bool | None]:
        """As admin."""
        body = await self.driver.ask("GET", f"/api/v1/nodes/{node}")
        taints = {taint["key"] for taint in body["spec"].get("taints", ()) if taint["effect"] == "NoSchedule"}
        conditions = {each["type"]: each["status"] for each in body["status"].get("conditions", ())}
        assert conditions["Ready"] == "True"
        condition = conditions.get(CONDITION_TYPE)
        return TAINT_KEY in taints, None if condition is None else condition == "True"

    async def start_job(self, ref: ObjectRef, node: str) -> None:
        """As the scheduler and the kubelet."""
        for pod in await self.driver.pods_of_job(ref.namespace, ref.name):
            await self.driver.bind(ref.namespace, pod, node)
            await self.driver.phase(ref.namespace, pod, "Running")

    async def finish_job(self, ref: ObjectRef) -> None:
        """As the kubelet; the Job controller does the rest."""
        for pod in await self.driver.pods_of_job(ref.namespace, ref.name):
            await self.driver.phase(ref.namespace, pod, "Succeeded")


def collection(kind: str, namespace: str) -> str:
    """The path of a collection."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    plural = f"{kind.lower().removesuffix('y')}ies" if kind.endswith("y") else f"{kind.lower()}s"
    return f"{COLLECTIONS[kind]}{inside}/{plural}"


def _named(kind: str, namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}}


def object_path(ref: ObjectRef) -> str:
    """The path of an object."""
    return f"{collection(ref.gvk.kind, ref.namespace)}/{ref.name}"


def pod_manifest(namespace: str, name: str, *, gpus: int, node: str = "") -> dict[str, Any]:
    """A pod that asks for GPUs and some CPU."""
    limits = {"cpu": "500m", "memory": "256Mi", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    container = {"name": "main", "image": "registry.invalid/main:1", "resources": {"limits": limits}}
    spec: dict[str, Any] = {"containers": [container], "restartPolicy": "Never"}
    if node:
        spec["nodeName"] = node
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
