"""MultiKueue on a real API server with Kueue's own CRDs. Kueue is played; in `test_kueue_itself.py` it runs."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from arbora.clock import ManualClock
from arbora_hub.kubernetes.multikueue.kinds import ADMISSION_MANAGER, WORKLOAD
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver
from tests.envtest.kueue import install_crds
from tests.envtest.multikueue_world import Objects, condition, define_requests, running_feature
from tests.support.eventually import eventually
from tests.support.kueue_fleets import A100, T4, Findings, PlainFleets, PlainWorkers, member

T = TypeVar("T")
KUEUE = "kueue-system"
_numbers = itertools.count(1)


@dataclass
class World:
    """The feature on the shared control plane, in time that stands still."""

    objects: Objects
    fleet: str
    namespace: str
    clock: ManualClock
    fleets: PlainFleets = field(default_factory=PlainFleets)
    workers: PlainWorkers = field(default_factory=PlainWorkers)
    findings: Findings = field(default_factory=Findings)

    @property
    def spec(self) -> dict[str, Any]:
        """What the Fleet says."""
        return {"queues": {"namespaces": [self.namespace], "localQueue": "jobs"}, "workers": {}}

    async def until_clusters(self, *paths: str) -> None:
        """Wait until the config names the members at these paths."""
        wanted = [f"{self.fleet}.{path.strip('/')}" for path in paths]

        async def there() -> bool:
            return await self.objects.clusters(self.fleet) == sorted(wanted)

        await self.until(there, f"the config names {wanted}")

    async def until(self, condition: Callable[[], T | Awaitable[T]], what: str) -> T:
        """Let time pass, second by second, until it is so."""

        async def there() -> T:
            self.clock.advance(1)
            value = condition()
            return await value if inspect.isawaitable(value) else value

        return await eventually(there, what)


@pytest.fixture(scope="session")
def kueue_crds(plane: ControlPlane) -> ControlPlane:
    """The shared control plane with Kueue's CRDs."""

    async def install() -> None:
        async with Driver(plane) as driver:
            await install_crds(driver)
            await define_requests(driver)
            if not await driver.ask("GET", f"/api/v1/namespaces/{KUEUE}", missing_is_fine=True):
                await driver.namespace(KUEUE)

    with asyncio.Runner() as runner:
        runner.run(install())
    return plane


@pytest.fixture
async def world(kueue_crds: ControlPlane, driver: Driver) -> AsyncIterator[World]:
    number, clock = next(_numbers), ManualClock(1000.0)
    world = World(Objects(driver), f"fleet{number}", f"jobs{number}", clock)
    await driver.namespace(world.namespace)
    async with running_feature(
        kueue_crds, world.fleets, world.workers, world.findings, clock, lambda: 1e9 + clock.monotonic()
    ):
        yield world
    world.fleets.put(world.fleet, None)


async def test_what_a_fleet_needs_passes_kueues_own_validation(world: World) -> None:
    world.fleets.put(world.fleet, world.spec, member("/a", (T4, 4, 4)), member("/b", (A100, 8, 8)))
    await world.until_clusters("/a", "/b")

    async def settled() -> bool:
        return bool(await world.objects.get("LocalQueue", "jobs", world.namespace))

    await world.until(settled, "all is written")
    cluster = await world.objects.get("MultiKueueCluster", f"{world.fleet}.a")
    assert cluster["spec"]["clusterSource"] == {
        "kubeConfig": {"location": f"{world.fleet}.a", "locationType": "Secret"}
    }
    request = await world.objects.get("AuthTokenRequest", f"{world.fleet}.a", KUEUE)
    assert request["spec"]["targetClusterProfile"]["name"] == "a"
    assert request["spec"]["secretName"] == f"{world.fleet}.a"
    check = await world.objects.get("AdmissionCheck", world.fleet)
    assert check["spec"]["parameters"]["name"] == world.fleet
    queue = await world.objects.get("ClusterQueue", world.fleet)
    (group,) = queue["spec"]["resourceGroups"]
    (flavor,) = group["flavors"]
    assert {each["name"]: each["nominalQuota"] for each in flavor["resources"]} == {
        "cpu": "1M",
        "memory": "1Pi",
        "nvidia.com/gpu": "12",
    }
    assert await world.until(lambda: world.findings.get(world.fleet), "a finding")
    assert world.findings[world.fleet].ready, world.findings


async def test_nothing_is_written_again_while_nothing_changes(world: World) -> None:
    one = member("/a", (T4, 4, 4))
    world.fleets.put(world.fleet, world.spec, one)
    await world.until(lambda: world.findings.get(world.fleet), "a finding")
    before = await world.objects.get("MultiKueueConfig", world.fleet)
    queue = await world.objects.get("ClusterQueue", world.fleet)
    for free in (3, 2, 1):
        world.fleets.put(world.fleet, world.spec, member("/a", (T4, 4, free)))
    world.fleets.put(world.fleet, world.spec, one, member("/b"))
    await world.until_clusters("/a", "/b")
    after = await world.objects.get("ClusterQueue", world.fleet)
    assert after["metadata"]["resourceVersion"] == queue["metadata"]["resourceVersion"]
    assert before["spec"]["clusters"] == [f"{world.fleet}.a"]


async def test_a_member_that_leaves_stays_in_the_config_until_its_last_workload_ends(world: World) -> None:
    a, b = member("/a", (T4, 4, 4)), member("/b", (A100, 8, 8))
    world.fleets.put(world.fleet, world.spec, a, b)
    await world.until_clusters("/a", "/b")
    await kueue_workload(world, "train", check=world.fleet, cluster=f"{world.fleet}.a")
    world.fleets.put(world.fleet, world.spec, b)

    async def draining() -> bool:
        found = await world.objects.get("MultiKueueCluster", f"{world.fleet}.a")
        return "arbora.dev/draining-since" in found["metadata"]["annotations"]

    await world.until(draining, "it drains")
    world.clock.advance(3600)
    await world.until(lambda: "still has 1 workload" in world.findings[world.fleet].message, "a sentence")
    assert await world.objects.clusters(world.fleet) == [f"{world.fleet}.a", f"{world.fleet}.b"]
    await finish(world, "train")
    await world.until_clusters("/b")

    async def gone() -> bool:
        request = await world.objects.get("AuthTokenRequest", f"{world.fleet}.a", KUEUE)
        return not await world.objects.get("MultiKueueCluster", f"{world.fleet}.a") and not request

    await world.until(gone, "nothing of it stays")
    await world.until(
        lambda: [path for _, path, _ in world.workers.there.values()] == ["/b"], "its queues go, too"
    )


async def test_a_fleet_that_ends_takes_everything_of_its_own_with_it_and_nothing_else(world: World) -> None:
    world.fleets.put(world.fleet, world.spec, member("/a", (T4, 4, 4)))
    await world.until(lambda: world.findings.get(world.fleet), "a finding")
    other = {"apiVersion": WORKLOAD.gvk.api_version, "kind": "ResourceFlavor", "metadata": {"name": "others"}}
    await world.objects.driver.ask("POST", "/apis/kueue.x-k8s.io/v1beta2/resourceflavors", {**other, "spec": {}})
    world.fleets.drop(world.fleet)

    async def gone() -> bool:
        kinds = ("ClusterQueue", "AdmissionCheck", "MultiKueueConfig", "ResourceFlavor")
        found = [await world.objects.get(kind, world.fleet) for kind in kinds]
        return not any(found) and not await world.objects.get("MultiKueueCluster", f"{world.fleet}.a")

    await world.until(gone, "all of it is gone")
    assert await world.objects.get("ResourceFlavor", "others")
    assert not world.workers.there


async def test_an_object_of_somebody_else_is_left_alone_and_named(world: World) -> None:
    theirs = {
        "apiVersion": WORKLOAD.gvk.api_version,
        "kind": "AdmissionCheck",
        "metadata": {"name": world.fleet},
        "spec": {"controllerName": "somebody.else/check"},
    }
    await world.objects.driver.ask("POST", "/apis/kueue.x-k8s.io/v1beta2/admissionchecks", theirs)
    world.fleets.put(world.fleet, world.spec, member("/a", (T4, 4, 4)))
    finding = await world.until(lambda: world.findings.get(world.fleet), "a finding")
    assert (finding.ready, finding.reason) == (False, "NameTaken")
    assert f"AdmissionCheck {world.fleet}" in finding.message
    check = await world.objects.get("AdmissionCheck", world.fleet)
    assert check["spec"]["controllerName"] == "somebody.else/check"
    world.fleets.drop(world.fleet)


@pytest.mark.parametrize(("product", "expected"), [("Tesla-T4", "a"), ("", "b")], ids=["T4", "any"])
async def test_a_job_is_nominated_to_the_member_that_has_its_gpus_or_else_the_most_free(
    world: World, product: str, expected: str
) -> None:
    world.fleets.put(
        world.fleet, world.spec, member("/a", (T4, 4, 4)), member("/b", (A100, 8, 8)), member("/c", (A100, 8, 2))
    )
    await world.until_clusters("/a", "/b", "/c")
    for name in ("a", "b", "c"):
        await world.objects.activate(f"{world.fleet}.{name}")
    await kueue_workload(world, "train", check=world.fleet, product=product)
    assert await nominated(world, "train") == [f"{world.fleet}.{expected}"]
    workload = await world.objects.get("Workload", "train", world.namespace)
    # what Kueue itself had written is all there, and still its own
    assert condition(workload, "QuotaReserved")
    assert workload["status"]["admission"]["clusterQueue"] == world.fleet
    managers = {
        (each["manager"], each["operation"])
        for each in workload["metadata"]["managedFields"]
        if "f:nominatedClusterNames" in each["fieldsV1"].get("f:status", {})
    }
    assert managers == {(ADMISSION_MANAGER, "Apply")}
    # and when Kueue leaves the nominations out they are gone, as a member may only be set without
    await apply_status(world, "train", {**admission(world.fleet), "clusterName": f"{world.fleet}.{expected}"})
    workload = await world.objects.get("Workload", "train", world.namespace)
    assert "nominatedClusterNames" not in workload["status"]


async def test_the_next_best_has_its_turn_when_a_member_does_not_admit_in_time(world: World) -> None:
    world.fleets.put(world.fleet, world.spec, member("/a", (A100, 8, 8)), member("/b", (A100, 8, 4)))
    await world.until_clusters("/a", "/b")
    for name in ("a", "b"):
        await world.objects.activate(f"{world.fleet}.{name}")
    await kueue_workload(world, "train", check=world.fleet)
    assert await nominated(world, "train") == [f"{world.fleet}.a"]
    world.clock.advance(61)
    await eventually(lambda: _is(world, "train", ["b"]), "the next is asked")
    world.clock.advance(61)
    await eventually(lambda: _is(world, "train", ["a", "b"]), "both are asked")
    events = await world.objects.driver.ask("GET", f"/api/v1/namespaces/{world.namespace}/events")
    messages = [each["message"] for each in events["items"] if each["involvedObject"]["name"] == "train"]
    assert any("/a did not admit it within 60 s" in message for message in messages), messages


async def test_nominations_of_somebody_else_are_left_and_the_fleet_says_so(world: World) -> None:
    world.fleets.put(world.fleet, world.spec, member("/a", (A100, 8, 8)), member("/b", (A100, 8, 4)))
    await world.until_clusters("/a", "/b")
    for name in ("a", "b"):
        await world.objects.activate(f"{world.fleet}.{name}")
    await kueue_workload(world, "train", check=world.fleet)
    both = [f"{world.fleet}.a", f"{world.fleet}.b"]
    assert await nominated(world, "train") == both[:1]
    await apply_status(world, "train", {**admission(world.fleet), "nominatedClusterNames": both})
    await world.until(lambda: world.findings[world.fleet].reason == "DispatcherNotOurs", "it is said")
    assert "arbora.dev/dispatcher" in world.findings[world.fleet].message
    assert await _nominated(world, "train") == both


async def _is(world: World, name: str, members: Sequence[str]) -> bool:
    return await _nominated(world, name) == [f"{world.fleet}.{each}" for each in members]


async def _nominated(world: World, name: str) -> list[str]:
    found = await world.objects.get("Workload", name, world.namespace)
    return list(found["status"].get("nominatedClusterNames") or ())


async def nominated(world: World, name: str) -> list[str]:
    """The members that a Workload was given to, once there are some."""
    return await eventually(lambda: _nominated(world, name), "somebody is nominated")


# what Kueue does, where it does not run


async def kueue_workload(
    world: World, name: str, *, check: str, cluster: str = "", product: str = "", gpus: int = 1
) -> None:
    """A Workload with quota, as Kueue leaves it for a dispatcher, or in a member."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [
            {"name": "main", "image": "main:1", "resources": {"requests": {"cpu": "1", "nvidia.com/gpu": gpus}}}
        ],
    }
    if product:
        spec["nodeSelector"] = {"nvidia.com/gpu.product": product}
    body = {
        "apiVersion": WORKLOAD.gvk.api_version,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": world.namespace},
        "spec": {"queueName": "jobs", "podSets": [{"name": "main", "count": 1, "template": {"spec": spec}}]},
    }
    await world.objects.driver.ask("POST", WORKLOAD.path(world.namespace), body)
    state = "Ready" if cluster else "Pending"
    checks = [{"name": check, "state": state, "message": "", "lastTransitionTime": NOW}]
    await apply_status(world, name, {"admissionChecks": checks}, manager="kueue-admission-checks")
    await apply_status(world, name, {**admission(world.fleet), **({"clusterName": cluster} if cluster else {})})


NOW = "2026-01-01T00:00:00Z"


def admission(queue: str) -> dict[str, Any]:
    """The status of a Workload that has quota."""
    reserved = {"type": "QuotaReserved", "status": "True", "reason": "QuotaReserved", "message": "in the queue"}
    assignment = {"name": "main", "count": 1, "flavors": {"cpu": queue}, "resourceUsage": {"cpu": "1"}}
    return {
        "conditions": [{**reserved, "lastTransitionTime": NOW}],
        "admission": {"clusterQueue": queue, "podSetAssignments": [assignment]},
    }


async def apply_status(
    world: World, name: str, status: Mapping[str, Any], manager: str = ADMISSION_MANAGER
) -> None:
    """Server-side apply of a status."""
    path = f"{WORKLOAD.path(world.namespace, name, 'status')}?fieldManager={manager}&force=true"
    body = {
        "apiVersion": WORKLOAD.gvk.api_version,
        "kind": "Workload",
        "metadata": {"name": name, "namespace": world.namespace},
        "status": status,
    }
    await world.objects.driver.ask("PATCH", path, body, content_type="application/apply-patch+yaml")


async def finish(world: World, name: str) -> None:
    """A Workload ends."""
    found = await world.objects.get("Workload", name, world.namespace)
    ended = {
        "type": "Finished",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": NOW,
    }
    conditions = [*found["status"]["conditions"], ended]
    await world.objects.driver.merge(
        WORKLOAD.path(world.namespace, name, "status"), {"status": {"conditions": conditions}}
    )
