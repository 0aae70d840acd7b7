"""The agent's rights as installed: the rendered manifest on a test control plane, and access with no more.

For: tests and benchmarks that must not run as admin. What a kubelet mounts into the agent's pod is written into a
folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arbora.clock import LoopClock
from arbora.kubernetes.access import AccessSource
from arbora.secret import Secret
from arbora_agent.app import Agent, AgentHooks
from arbora_agent.cluster.kubernetes import KubernetesCluster, in_cluster
from arbora_agent.identity_secret import IdentitySecret
from arbora_agent.manifest.agent import render
from arbora_agent.manifest.names import NAME
from arbora_agent.manifest.settings import ManifestSettings
from arbora_agent.settings import AgentSettings
from arbora_hub.app import Hub
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, collection

CEILING = "arbora-test-ceiling"
"""The cluster role of every test that bounds rules: an installation is bound to one, for good."""


def settings(**changed: Any) -> ManifestSettings:
    """Settings of an installation that nobody dials."""
    given = {"hub": "hub.invalid:7444", "join_token": "arb1.tokenid.secret.pin", **changed}
    return ManifestSettings(**given)


async def apply(driver: Driver, manifest: Mapping[str, Any]) -> None:
    """Server-side apply, as `kubectl apply --server-side` does."""
    metadata = manifest["metadata"]
    path = f"{collection(manifest['kind'], metadata.get('namespace', ''))}/{metadata['name']}"
    query = "?fieldManager=kubectl&force=true"
    await driver.ask("PATCH", path + query, manifest, content_type="application/apply-patch+yaml")


async def install(plane: ControlPlane, driver: Driver, folder: Path, wanted: ManifestSettings) -> AccessSource:
    """Install the agent's objects and return the access that its pod would have."""
    for manifest in render(wanted):
        await apply(driver, manifest)
    path = f"/api/v1/namespaces/{wanted.namespace}/serviceaccounts/{NAME}/token"
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    answer = await driver.ask("POST", path, request)
    (folder / "token").write_text(answer["status"]["token"])
    (folder / "ca.crt").write_bytes(plane.ca_file.read_bytes())
    (folder / "namespace").write_text(wanted.namespace)
    where = urlsplit(plane.server)
    environ = {"KUBERNETES_SERVICE_HOST": str(where.hostname), "KUBERNETES_SERVICE_PORT": str(where.port)}
    return in_cluster(folder, environ)


async def ceiling(driver: Driver, *rules: Mapping[str, Any]) -> None:
    """Somebody makes CEILING, or changes it."""
    manifest = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": CEILING},
    }
    await apply(driver, {**manifest, "rules": list(rules)})


@asynccontextmanager
async def running(
    hub: Hub, access: AccessSource, folder: Path, token: str = "", **changed: Any
) -> AsyncIterator[Agent]:
    """The installed agent, while the block lasts. changed: of its settings."""
    cluster = KubernetesCluster(access)
    wanted = AgentSettings(folder, hub=hub.join_address, join_token=Secret(token), **changed)
    agent = Agent(wanted, cluster, IdentitySecret(access), LoopClock(), AgentHooks())
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
    finally:
        stop.set()
        try:
            await task
        finally:
            await cluster.close()
