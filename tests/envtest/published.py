"""A tree with a face on a real API server: hubs, and what stands there. For the tests of ClusterProfiles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from arbora.secret import Secret
from arbora.v1 import enrollment_pb2
from arbora_hub.kubernetes.profiles.profiles import Profiles
from arbora_hub.kubernetes.profiles.publisher import Publisher
from tests.envtest.controlplane import ControlPlane
from tests.envtest.crds import APPLY, FLEETS, condition, install_crds
from tests.envtest.driver import Driver, KubernetesWorld
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_hub

Body = dict[str, Any]


@dataclass
class Published:
    """What stands on the API server in one namespace, and a Fleet that publishes there."""

    driver: Driver
    namespace: str
    fleet: str
    writes: list[tuple[float, str, str]] = field(default_factory=list)
    """(loop time, name, what) of every event of a profile here, from `following` on."""

    @property
    def path(self) -> str:
        return f"/apis/multicluster.x-k8s.io/v1alpha1/namespaces/{self.namespace}/clusterprofiles"

    async def apply_fleet(self, name: str = "", **spec: Any) -> None:
        """Make or change the Fleet; by default everybody is published into the namespace."""
        name = name or self.fleet
        body = {"apiVersion": "arbora.dev/v1", "kind": "Fleet", "metadata": {"name": name}}
        wanted = {"paths": ["/**"], "namespaces": [self.namespace], **spec}
        path = f"{FLEETS}/{name}?fieldManager=test&force=true"
        await self.driver.ask("PATCH", path, {**body, "spec": wanted}, content_type=APPLY)

    async def fleet_status(self, name: str = "") -> Body:
        return dict((await self.driver.ask("GET", f"{FLEETS}/{name or self.fleet}")).get("status") or {})

    async def ready(self, name: str = "") -> tuple[str, str, str]:
        """Status, reason and message of the Fleet's condition Ready."""
        return condition(await self.fleet_status(name), "Ready")

    async def all(self) -> dict[str, Body]:
        """Every profile, by name."""
        found = (await self.driver.ask("GET", self.path))["items"]
        return {one["metadata"]["name"]: one for one in found}

    async def get(self, name: str) -> Body:
        """One profile; empty: there is none."""
        return await self.driver.ask("GET", f"{self.path}/{name}", missing_is_fine=True)

    async def until(self, name: str, holds: Callable[[Body], Any], what: str = "", seconds: float = 10.0) -> Body:
        """The profile as soon as `holds` is true of it."""

        async def there() -> Body:
            body = await self.get(name)
            return body if body and holds(body) else {}

        return await eventually(there, what or f"{name} is as it should be", seconds)

    async def until_names(self, *names: str) -> None:
        """These profiles are there, each with a status, and no others."""

        async def there() -> bool:
            found = await self.all()
            return set(found) == set(names) and all("status" in one for one in found.values())

        await eventually(there, f"the profiles {names}")

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Note every write while the block lasts."""
        listed = await self.driver.ask("GET", self.path)
        task = asyncio.create_task(self._follow(listed["metadata"]["resourceVersion"]))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, version: str) -> None:
        async for event in self.driver.watch(self.path, version):
            now = asyncio.get_running_loop().time()
            self.writes.append((now, event["object"]["metadata"]["name"], event["type"]))


def health(body: Body) -> tuple[str, str]:
    """ControlPlaneHealthy and Joined."""
    status = body.get("status", {})
    return condition(status, "ControlPlaneHealthy")[0], condition(status, "Joined")[0]


def properties(body: Body) -> dict[str, str]:
    return {one["name"]: one["value"] for one in body.get("status", {}).get("properties", ())}


@asynccontextmanager
async def published(driver: Driver) -> AsyncIterator[Published]:
    """A namespace, and the name of a Fleet that is deleted in the end."""
    await install_crds(driver)
    async with KubernetesWorld(driver) as world:
        it = Published(driver, world.namespace, world.name("fleet"))
        try:
            yield it
        finally:
            for one in (await driver.ask("GET", FLEETS))["items"]:
                await driver.ask("DELETE", f"{FLEETS}/{one['metadata']['name']}")
            for name in await it.all():
                await driver.ask("DELETE", f"{it.path}/{name}", missing_is_fine=True)


@asynccontextmanager
async def hub_with_face(plane: ControlPlane, folder: Path, **settings: Any) -> AsyncIterator[RunningHub]:
    """A hub whose face is on this control plane, with a gateway."""
    given = {
        "kubeconfig": str(plane.kubeconfig),
        "gateway_address": "127.0.0.1:0",
        "manager_name": "arbora-test",
        "startup_grace": 1.0,
        **settings,
    }
    async with running_hub(folder, **given) as hub:
        yield hub


@asynccontextmanager
async def hub_below(parent: RunningHub, folder: Path, name: str, **settings: Any) -> AsyncIterator[RunningHub]:
    """A hub that joined `parent`, without a face."""
    made = await parent.admin.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)
    above = {"parent": parent.hub.join_address, "join_token": Secret(made.token), "name": name}
    async with running_hub(folder / name, kubernetes=False, **above, **settings) as hub:
        await eventually(lambda: hub.hub.uplink.connected, f"{name} has joined")
        yield hub


async def installed_face(plane: ControlPlane, driver: Driver, folder: Path, *further: str) -> Path:
    """A kubeconfig with the rights of `hub-face.yaml` in deploy/kubernetes, and of further files there."""
    namespace = "arbora-hub"
    if not await driver.ask("GET", f"/api/v1/namespaces/{namespace}", missing_is_fine=True):
        await driver.namespace(namespace)
    for body in (each for name in ("hub-face", *further) for each in _face(name)):
        rbac = "Role" in body["kind"]
        group = "/apis/rbac.authorization.k8s.io/v1" if rbac else f"/api/v1/namespaces/{namespace}"
        path = f"{group}/{body['kind'].lower()}s/{body['metadata']['name']}?fieldManager=test&force=true"
        await driver.ask("PATCH", path, body, content_type=APPLY)
    token = await driver.token(namespace, "arbora-hub", "https://kubernetes.default.svc.cluster.local")
    cluster = {"server": plane.server, "certificate-authority": str(plane.ca_file)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "face", "cluster": cluster}],
        "users": [{"name": "hub", "user": {"token": token.reveal()}}],
        "contexts": [{"name": "face", "context": {"cluster": "face", "user": "hub"}}],
        "current-context": "face",
    }
    file = folder / "face.yaml"
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    return file


def _face(name: str) -> list[Body]:
    file = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / f"{name}.yaml"
    return list(yaml.safe_load_all(file.read_text()))


def profiles_of(hub: RunningHub) -> Profiles:
    """What the hub has decided."""
    return next(part for part in hub.hub.face.parts if isinstance(part, Publisher)).profiles
