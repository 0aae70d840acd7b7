"""Kueue runs: a manager cluster, two members, and jobs that go where their GPUs are.

The manager and each member have Kueue of the pinned release; the hub's feature sets everything up, with the
tokens and the worker queues played. What Kueue does here is the truth about what it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from arbora.clock import LoopClock
from arbora.manifests.objects import Manifest
from arbora_hub.kubernetes.multikueue.kinds import DISPATCHER, MULTIKUEUE, WORKLOAD
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver
from tests.envtest.kueue import install_crds, kueue_manager
from tests.envtest.multikueue_world import Objects, condition, define_requests, running_feature, tokens_issued
from tests.support.eventually import eventually
from tests.support.kueue_fleets import A100, T4, Findings, PlainFleets, PlainWorkers, member

TEAM, QUEUE, FLEET = "team", "training", "training"
SPEC = {"queues": {"namespaces": [TEAM]}, "workers": {}, "dispatch": {"retryAfterSeconds": 10}}
SMALL, LARGE = member("/eu/small", (T4, 4, 4)), member("/us/large", (A100, 16, 16))
LONG = 15.0
"""Seconds for what several controllers do one after the other."""


@dataclass
class Kueues:
    """Three clusters with Kueue; the last one is shared with other tests."""

    manager: ControlPlane
    small: ControlPlane
    large: ControlPlane


@pytest.fixture(scope="module")
def kueues(plane: ControlPlane) -> Iterator[Kueues]:
    """A manager and two members. At most three API servers run at once, so the shared one is a member."""
    found = Kueues(ControlPlane(), ControlPlane(), plane)
    stack = AsyncExitStack()

    async def start() -> None:
        await asyncio.gather(*map(stack.enter_async_context, (found.manager, found.small)))
        for cluster, dispatcher in ((found.manager, DISPATCHER), (found.small, ""), (found.large, "")):
            driver = await stack.enter_async_context(Driver(cluster))
            await install_crds(driver)
            await driver.namespace(TEAM)
            await stack.enter_async_context(kueue_manager(cluster, driver, dispatcher))
            if dispatcher:
                await define_requests(driver)

    with asyncio.Runner() as runner:
        try:
            runner.run(start())
            yield found
        finally:
            runner.run(stack.aclose())


@dataclass
class Running:
    """The feature, and an admin in each cluster."""

    manager: Driver
    small: Driver
    large: Driver
    fleets: PlainFleets
    findings: Findings

    async def remote(self, name: str) -> dict[str, bool]:
        """Member -> whether the job of that name runs there, for those that have it."""
        found = {}
        for title, driver in (("small", self.small), ("large", self.large)):
            job = await driver.ask("GET", f"/apis/batch/v1/namespaces/{TEAM}/jobs/{name}", missing_is_fine=True)
            if job:
                found[title] = not job["spec"].get("suspend", False)
        return found

    async def workload(self, job: str) -> dict[str, Any]:
        """The manager's Workload of a job; empty if there is none."""
        listed = await self.manager.ask("GET", WORKLOAD.path(TEAM))
        owned = [
            each
            for each in listed["items"]
            if any(owner["name"] == job for owner in each["metadata"].get("ownerReferences") or ())
        ]
        return owned[0] if owned else {}

    async def until_on(self, name: str, expected: str) -> None:
        """Wait until the job runs in that member and only there, and the manager knows."""

        async def there() -> bool:
            cluster = (await self.workload(name)).get("status", {}).get("clusterName", "")
            return cluster.endswith(f".{expected}") and await self.remote(name) == {expected: True}

        await eventually(there, f"{name} runs in {expected}", LONG)


@pytest.fixture
async def running(kueues: Kueues) -> AsyncIterator[Running]:
    async with Driver(kueues.manager) as manager, Driver(kueues.small) as small, Driver(kueues.large) as large:
        members = {"/eu/small": small, "/us/large": large}

        async def bring(path: str, manifests: Sequence[Manifest]) -> None:
            for manifest in manifests:
                await apply(members[path], manifest)

        fleets, findings = PlainFleets(), Findings()
        profiles = {"eu-small": (kueues.small, small), "us-large": (kueues.large, large)}
        async with (
            tokens_issued(manager, profiles),
            running_feature(kueues.manager, fleets, PlainWorkers(bring), findings, LoopClock(), time.time),
        ):
            fleets.put(FLEET, SPEC, SMALL, LARGE)
            yield Running(manager, small, large, fleets, findings)


async def test_kueue_takes_what_the_hub_made_and_jobs_go_where_their_gpus_are(running: Running) -> None:
    objects = Objects(running.manager)

    async def connected() -> bool:
        clusters = [
            await objects.active("MultiKueueCluster", f"{FLEET}.{one}") for one in ("eu.small", "us.large")
        ]
        return all(clusters) and await objects.active("ClusterQueue", FLEET)

    await eventually(connected, "Kueue has connected to both members", LONG)
    await running.manager.create(job("needs-t4", product="Tesla-T4"))
    await running.until_on("needs-t4", "small")
    await running.manager.create(job("any-gpu"))
    await running.until_on("any-gpu", "large")


async def test_a_member_that_leaves_finishes_its_job_and_nothing_runs_twice(running: Running) -> None:
    objects = Objects(running.manager)
    await running.manager.create(job("leaving", product="Tesla-T4"))
    await running.until_on("leaving", "small")
    running.fleets.put(FLEET, SPEC, LARGE)
    await eventually(lambda: "/eu/small drains" in running.findings[FLEET].message, "it drains", LONG)
    await running.manager.create(job("after"))
    await running.until_on("after", "large")
    assert await objects.clusters(FLEET) == [f"{FLEET}.eu.small", f"{FLEET}.us.large"]
    for name in ("needs-t4", "leaving"):
        for pod in await running.small.pods_of_job(TEAM, name):
            await running.small.phase(TEAM, pod, "Succeeded")

    async def out() -> bool:
        return await objects.clusters(FLEET) == [f"{FLEET}.us.large"]

    await eventually(out, "it is out of the config", LONG)
    finished = await running.workload("leaving")
    assert condition(finished, "Finished")
    assert "leaving" not in [
        each["metadata"]["name"]
        for each in (await running.large.ask("GET", f"/apis/batch/v1/namespaces/{TEAM}/jobs"))["items"]
    ]


async def apply(driver: Driver, manifest: Manifest) -> None:
    """As an agent does."""
    metadata = manifest["metadata"]
    plural = f"{manifest['kind'].lower()}s"
    inside = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    path = f"/apis/{manifest['apiVersion']}{inside}/{plural}/{metadata['name']}?fieldManager=agent&force=true"
    await driver.ask("PATCH", path, manifest, content_type="application/apply-patch+yaml")


def job(name: str, *, product: str = "", gpus: int = 1) -> dict[str, Any]:
    """A Job as Kueue's webhook would leave it: suspended, and managed by MultiKueue."""
    resources = {"requests": {"cpu": "100m", "nvidia.com/gpu": gpus}, "limits": {"nvidia.com/gpu": gpus}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "registry.invalid/main:1", "resources": resources}],
    }
    if product:
        spec["nodeSelector"] = {"nvidia.com/gpu.product": product}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": TEAM, "labels": {"kueue.x-k8s.io/queue-name": QUEUE}},
        "spec": {"suspend": True, "managedBy": MULTIKUEUE, "template": {"spec": spec}},
    }
