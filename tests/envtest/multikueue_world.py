"""The world of the tests of MultiKueue: the feature on an API server, and what other parts of the hub would do.

For: `test_multikueue.py`. The player of AuthTokenRequests makes in a member exactly what a request asks for, and
nothing else, so that Kueue works with those rights or not at all.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import yaml

from arbora.clock import Clock
from arbora.kubernetes.access import from_kubeconfig
from arbora.kubernetes.api import ApiServer
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST
from arbora_hub.kubernetes.multikueue.feature import MultiKueue
from arbora_hub.kubernetes.multikueue.kinds import LOCAL_QUEUE, WORKLOAD
from arbora_hub.kubernetes.multikueue.ownership import ORDER
from tests.envtest.controlplane import ControlPlane
from tests.envtest.crds import CRDS
from tests.envtest.driver import Driver
from tests.envtest.kueue import define
from tests.support.kueue_fleets import Findings, PlainFleets, PlainWorkers

PATHS = {kind.gvk.kind: kind for kind in (*ORDER, WORKLOAD, LOCAL_QUEUE)}


async def define_requests(driver: Driver) -> None:
    """The kind of AuthTokenRequests, if it is not there."""
    await define(driver, yaml.safe_load((CRDS / "authtokenrequests.arbora.dev.yaml").read_text()))


@asynccontextmanager
async def running_feature(
    plane: ControlPlane,
    fleets: PlainFleets,
    workers: PlainWorkers,
    findings: Findings,
    clock: Clock,
    wall: Callable[[], float],
) -> AsyncIterator[None]:
    """MultiKueue on the plane, while the block lasts."""
    api = ApiServer(await from_kubeconfig(str(plane.kubeconfig), None)())
    task = asyncio.create_task(MultiKueue(api, fleets, workers, findings.say, clock, wall).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await api.close()
        if not task.cancelled():
            task.result()


class Objects:
    """Objects of the kinds of MultiKueue, as admin."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    async def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any]:
        """One; empty if there is none."""
        return await self.driver.ask("GET", PATHS[kind].path(namespace, name), missing_is_fine=True)

    async def clusters(self, config: str) -> list[str]:
        """What a MultiKueueConfig names."""
        found = await self.get("MultiKueueConfig", config)
        return list(found["spec"]["clusters"]) if found else []

    async def active(self, kind: str, name: str, namespace: str = "") -> bool:
        """Whether Kueue says that it is Active."""
        found = await self.get(kind, name, namespace)
        return condition(found, "Active")

    async def activate(self, cluster: str) -> None:
        """Say what Kueue says of a cluster that it has connected to."""
        now = "2026-01-01T00:00:00Z"
        active = {
            "type": "Active",
            "status": "True",
            "reason": "Active",
            "message": "",
            "lastTransitionTime": now,
        }
        path = PATHS["MultiKueueCluster"].path("", cluster, "status")
        await self.driver.merge(path, {"status": {"conditions": [active]}})


def condition(item: Mapping[str, Any], kind: str) -> bool:
    """Whether a condition is True."""
    conditions = ((item or {}).get("status") or {}).get("conditions") or ()
    return any(each["type"] == kind and each["status"] == "True" for each in conditions)


@asynccontextmanager
async def tokens_issued(
    manager: Driver, members: Mapping[str, tuple[ControlPlane, Driver]]
) -> AsyncIterator[None]:
    """Play the controller of AuthTokenRequests while the block lasts. members: profile -> its cluster."""
    task = asyncio.create_task(_issue_for_ever(manager, members))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()


async def _issue_for_ever(manager: Driver, members: Mapping[str, tuple[ControlPlane, Driver]]) -> None:
    done: set[str] = set()
    path = AUTH_TOKEN_REQUEST.path()
    while True:
        items = await manager.until(
            path, lambda found: any(each["metadata"]["uid"] not in done for each in found), seconds=600
        )
        for item in items:
            if item["metadata"]["uid"] not in done:
                done.add(item["metadata"]["uid"])
                await _issue(manager, item, *members[item["spec"]["targetClusterProfile"]["name"]])


async def _issue(manager: Driver, request: Mapping[str, Any], plane: ControlPlane, member: Driver) -> None:
    spec = request["spec"]
    namespace, account = spec["serviceAccountNamespace"], spec["serviceAccountName"]
    for manifest in _grants(spec):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        path = f"/apis/rbac.authorization.k8s.io/v1/{kind.lower()}s/{name}?fieldManager=test&force=true"
        await member.ask("PATCH", path, manifest, content_type="application/apply-patch+yaml")
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    if not await member.ask("GET", f"{accounts}/{account}", missing_is_fine=True):
        await member.ask("POST", accounts, {"metadata": {"name": account}})
    asked = {"spec": {"expirationSeconds": spec["expirationSeconds"]}}
    token = (await member.ask("POST", f"{accounts}/{account}/token", asked))["status"]["token"]
    cluster = {
        "server": plane.server,
        "certificate-authority-data": base64.b64encode(plane.ca_file.read_bytes()).decode(),
    }
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "member", "cluster": cluster}],
        "users": [{"name": "member", "user": {"token": token}}],
        "contexts": [{"name": "member", "context": {"cluster": "member", "user": "member"}}],
        "current-context": "member",
    }
    metadata = {"name": spec["secretName"], "namespace": request["metadata"]["namespace"]}
    data = {"kubeconfig": base64.b64encode(json.dumps(kubeconfig).encode()).decode()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}?fieldManager=test&force=true"
    await manager.ask("PATCH", path, secret, content_type="application/apply-patch+yaml")


def _grants(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    subject = {
        "kind": "ServiceAccount",
        "name": spec["serviceAccountName"],
        "namespace": spec["serviceAccountNamespace"],
    }
    for role in spec["clusterRoles"]:
        named = {"apiVersion": f"{group}/v1", "metadata": {"name": role["name"]}}
        yield {**named, "kind": "ClusterRole", "rules": role["rules"]}
        yield {
            **named,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role["name"]},
            "subjects": [subject],
        }
