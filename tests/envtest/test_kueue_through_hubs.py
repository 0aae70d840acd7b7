"""All of it together: from a Fleet to a job that runs in a member behind two hubs, with Kueue itself.

Nothing is played. The hub has its face in the manager's API server and a gateway; each member is a real API
server with an agent that dialed out; Kueue reaches them through the gateway with the Secrets that
AuthTokenRequests became, and its queues came as workloads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arbora.secret import Secret
from arbora_agent.app import AgentHooks, run
from arbora_agent.settings import AgentSettings
from arbora_hub.kubernetes.multikueue.kinds import DISPATCHER, WORKLOAD
from arbora_hub.kubernetes.multikueue.rights import rules
from tests.envtest import crds
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver
from tests.envtest.kueue import NAMESPACE, install_crds, kueue_manager
from tests.envtest.multikueue_world import Objects
from tests.envtest.published import hub_below, hub_with_face, installed_face
from tests.envtest.test_kueue_itself import TEAM, job
from tests.support.eventually import eventually
from tests.support.hub import RunningHub

FLEET, CEILING = "training", "multikueue-ceiling"
SPEC = {
    "paths": ["/**"],
    "namespaces": [NAMESPACE],
    "multiKueue": {"queues": {"namespaces": [TEAM]}, "workers": {}, "dispatch": {"retryAfterSeconds": 10}},
}
SECONDS = 40.0


@dataclass
class Clusters:
    """Three API servers with Kueue."""

    manager: ControlPlane
    small: ControlPlane
    large: ControlPlane


@pytest.fixture(scope="module")
def kueues(plane: ControlPlane) -> Iterator[Clusters]:
    """A manager and two members of their own, as nodes of other tests would be counted."""
    found = Clusters(ControlPlane(), ControlPlane(), ControlPlane())
    stack = AsyncExitStack()

    async def start() -> None:
        planes = (found.manager, found.small, found.large)
        await asyncio.gather(*map(stack.enter_async_context, planes))
        for one in planes:
            driver = await stack.enter_async_context(Driver(one))
            await install_crds(driver)
            await driver.namespace(TEAM)
            await stack.enter_async_context(
                kueue_manager(one, driver, DISPATCHER if one is found.manager else "")
            )
            if one is found.manager:
                await crds.install_crds(driver)
            else:
                await _ceiling(driver)
        for one, name, product, gpus in (
            (found.small, "t4", "Tesla-T4", 4),
            (found.large, "a100", "NVIDIA-A100-SXM4-40GB", 16),
        ):
            async with Driver(one) as driver:
                await driver.node(name, gpus=gpus, product=product)

    with asyncio.Runner() as runner:
        try:
            runner.run(start())
            yield found
        finally:
            runner.run(stack.aclose())


async def _ceiling(driver: Driver) -> None:
    """What the member lets Kueue's account have."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": CEILING}}
    await driver.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {**role, "rules": rules()})


@asynccontextmanager
async def agent(hub: RunningHub, folder: Path, name: str, plane: ControlPlane) -> AsyncIterator[None]:
    """A member; nobody but it dials its API server."""
    settings = AgentSettings(
        folder / f"agent-{name}",
        hub=hub.hub.join_address,
        join_token=Secret(await hub.join_token(name)),
        name=name,
        kubeconfig=str(plane.kubeconfig),
        allow_tokens=(f"{NAMESPACE}/*",),
        allow_rules_of=CEILING,
    )
    stop = asyncio.Event()
    task = asyncio.create_task(run(settings, stop, AgentHooks()))
    try:
        await eventually(lambda: hub.hub.inventory.find(name) is not None, f"{name} has joined")
        await hub.until_reported(name)
        yield
    finally:
        stop.set()
        await task


@pytest.mark.timeout(150, func_only=True)
async def test_a_fleet_is_all_it_takes_for_kueue_to_run_jobs_behind_hubs(
    kueues: Clusters, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        manager, small, large = [
            await stack.enter_async_context(Driver(one)) for one in (kueues.manager, kueues.small, kueues.large)
        ]
        face = await installed_face(kueues.manager, manager, tmp_path, "hub-multikueue")
        root = await stack.enter_async_context(
            hub_with_face(kueues.manager, tmp_path / "root", kubeconfig=str(face))
        )
        eu = await stack.enter_async_context(hub_below(root, tmp_path, "eu"))
        await stack.enter_async_context(agent(eu, tmp_path, "small", kueues.small))
        await stack.enter_async_context(agent(root, tmp_path, "large", kueues.large))
        fleet = {"apiVersion": "arbora.dev/v1", "kind": "Fleet", "metadata": {"name": FLEET}, "spec": SPEC}
        await manager.ask("POST", crds.FLEETS, fleet)
        objects = Objects(manager)

        async def connected() -> bool:
            found = [await objects.active("MultiKueueCluster", f"{FLEET}.{one}") for one in ("eu.small", "large")]
            return all(found) and await objects.active("ClusterQueue", FLEET)

        try:
            await eventually(connected, "Kueue has connected to both members through the gateway", SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {await _state(manager)}") from error
        await manager.create(job("needs-t4", product="Tesla-T4"))
        await _until_on(manager, {"eu.small": small, "large": large}, "needs-t4", "eu.small")
        await manager.create(job("any-gpu"))
        await _until_on(manager, {"eu.small": small, "large": large}, "any-gpu", "large")

        async def ready() -> bool:
            status = (await manager.ask("GET", f"{crds.FLEETS}/{FLEET}")).get("status") or {}
            return all(crds.condition(status, one)[0] == "True" for one in ("Ready", "MultiKueueReady"))

        await eventually(ready, "the Fleet says that all is well")
        await manager.ask("DELETE", f"{crds.FLEETS}/{FLEET}")
        for name, driver in (("needs-t4", small), ("any-gpu", large)):
            for pod in await driver.pods_of_job(TEAM, name):
                await driver.phase(TEAM, pod, "Succeeded")

        async def gone() -> bool:
            secrets = (await manager.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets"))["items"]
            left = [one for one in secrets if one["metadata"]["name"].startswith(f"{FLEET}.")]
            accounts = [
                await driver.ask(
                    "GET",
                    f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/multikueue-sa",
                    missing_is_fine=True,
                )
                for driver in (small, large)
            ]
            return not left and not any(accounts) and not await objects.get("MultiKueueConfig", FLEET)

        await eventually(gone, "nothing is left of it, here and in the members", SECONDS)


async def _until_on(manager: Driver, members: dict[str, Driver], name: str, expected: str) -> None:
    async def there() -> bool:
        listed = (await manager.ask("GET", WORKLOAD.path(TEAM)))["items"]
        at = [
            one.get("status", {}).get("clusterName", "")
            for one in listed
            if any(owner["name"] == name for owner in one["metadata"].get("ownerReferences") or ())
        ]
        running = {}
        for title, driver in members.items():
            found = await driver.ask("GET", f"/apis/batch/v1/namespaces/{TEAM}/jobs/{name}", missing_is_fine=True)
            if found:
                running[title] = not found["spec"].get("suspend", False)
        return at == [f"{FLEET}.{expected}"] and running == {expected: True}

    try:
        await eventually(there, f"{name} runs in {expected}", SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {await _state(manager)}") from error


async def _state(manager: Driver) -> Any:
    """What there is to see when something did not come."""
    requests = await manager.ask("GET", f"/apis/arbora.dev/v1/namespaces/{NAMESPACE}/authtokenrequests")
    clusters = await manager.ask("GET", "/apis/kueue.x-k8s.io/v1beta2/multikueueclusters")
    fleets = await manager.ask("GET", crds.FLEETS)
    workloads = await manager.ask("GET", WORKLOAD.path(TEAM))
    return [one.get("status") for found in (requests, clusters, fleets, workloads) for one in found["items"]]
