"""The whole path on a real API server: an installed agent joins a hub, runs workloads, mints tokens, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from arbora.client import HubClient
from arbora.context import find_context
from arbora.errors import PermissionDenied
from arbora.kubernetes.access import AccessSource
from arbora.manifests.objects import Gvk, ObjectRef
from arbora.v1 import member_pb2, workload_pb2
from arbora.workloads.model import State
from arbora_hub.app import Hub, open_hub
from arbora_hub.settings import HubSettings
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld, collection
from tests.envtest.installed import install, running, settings

PRODUCT = "NVIDIA-H100-80GB-HBM3"
ALLOWED = ("default/default",)
JOB = Gvk("batch/v1", "Job")
CONFIG_MAP = Gvk("v1", "ConfigMap")


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    loopback = "127.0.0.1:0"
    wanted = HubSettings(
        tmp_path / "hub", client_address=loopback, join_address=loopback, session_address=loopback
    )
    async with open_hub(wanted) as hub:
        yield hub


@pytest.fixture
async def client(hub: Hub) -> AsyncIterator[HubClient]:
    _, context = find_context(hub.settings.data_dir / "admin.yaml")
    async with HubClient.from_context(context) as client:
        yield client


@pytest.fixture
async def world(plane: ControlPlane, driver: Driver) -> AsyncIterator[KubernetesWorld]:
    async with KubernetesWorld(driver) as world:
        yield world


@pytest.fixture
async def access(plane: ControlPlane, driver: Driver, world: KubernetesWorld, tmp_path: Path) -> AccessSource:
    folder = tmp_path / "pod"
    folder.mkdir()
    wanted = settings(namespace=world.name("arbora"), allow_tokens=ALLOWED)
    return await install(plane, driver, folder, wanted)


async def until_member(client: HubClient, wanted: Callable[[member_pb2.Member], bool]) -> member_pb2.Member:
    async with asyncio.timeout(10):
        async for change in client.members.watch():
            if not change.synced and wanted(change.member):
                return change.member
    raise AssertionError("the watch ended")


async def until(
    client: HubClient, name: str, wanted: Callable[[workload_pb2.Workload], bool]
) -> workload_pb2.Workload:
    async with asyncio.timeout(10):
        async for change in client.workloads.watch(name):
            if not change.synced and not change.gone and wanted(change.workload):
                return change.workload
    raise AssertionError("the watch ended")


def config_map(world: KubernetesWorld, name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": world.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def gpu_job(world: KubernetesWorld, name: str, gpus: int) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)}
    container = {"name": "train", "image": "registry.invalid/train:1", "resources": {"limits": limits}}
    pod = {"restartPolicy": "Never", "containers": [container]}
    metadata = {"name": name, "namespace": world.namespace}
    spec = {"template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def data_of(config_maps: Sequence[Any]) -> dict[str, Any]:
    return {one["metadata"]["name"]: one.get("data") for one in config_maps}


def states(workload: workload_pb2.Workload) -> dict[str, State]:
    return {
        part.kind: State(part.state) for assignment in workload.assignments for part in assignment.status.objects
    }


def free(member: member_pb2.Member) -> int:
    return sum(row.free for sketch in member.sketches for row in sketch.rows)


async def join(client: HubClient, name: str) -> str:
    return (await client.join_tokens.create(name, labels={"gpu": "h100"})).token


async def test_gpus_appear_and_a_job_takes_frees_and_completes(
    hub: Hub, client: HubClient, world: KubernetesWorld, access: AccessSource, tmp_path: Path
) -> None:
    node = world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    async with running(hub, access, tmp_path / "agent", await join(client, "real"), allow_tokens=ALLOWED):
        before = free(await until_member(client, lambda member: free(member) >= 8))
        await client.workloads.apply("train", [gpu_job(world, "train", 2)], members=["real"])
        job = ObjectRef(JOB, world.namespace, "train")
        await until(client, "train", lambda one: bool(states(one)))
        await world.start_job(job, node)
        await until_member(client, lambda member: free(member) == before - 2)
        await until(client, "train", lambda one: one.state == State.PROGRESSING.value)
        await world.finish_job(job)
        await until(client, "train", lambda one: one.state == State.COMPLETE.value)
        await until_member(client, lambda member: free(member) == before)
        await client.workloads.delete("train")
        async with asyncio.timeout(10):
            async for change in client.workloads.watch():
                if not [one async for one in client.workloads.list()]:
                    break
                assert not change.gone or change.workload.name == "train"
        assert await world.read(job) is None


async def test_a_rejected_object_is_reported_in_the_api_servers_own_words_and_the_rest_is_applied(
    hub: Hub, client: HubClient, world: KubernetesWorld, access: AccessSource, tmp_path: Path
) -> None:
    broken = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "broken", "namespace": world.namespace},
        "spec": {"ports": [{"port": 99999}]},
    }
    async with running(hub, access, tmp_path / "agent", await join(client, "real"), allow_tokens=ALLOWED):
        await client.workloads.apply("mixed", [config_map(world, "fine", a="1"), broken], members=["real"])
        workload = await until(client, "mixed", lambda one: State.DEGRADED in states(one).values())
    assert states(workload)["ConfigMap"] is not State.DEGRADED
    [service] = [part for part in workload.assignments[0].status.objects if part.kind == "Service"]
    assert "must be between 1 and 65535" in service.message
    assert await world.read(ObjectRef(CONFIG_MAP, world.namespace, "fine")) is not None


async def test_drift_is_repaired_and_what_left_the_workload_is_pruned(
    hub: Hub, client: HubClient, world: KubernetesWorld, access: AccessSource, tmp_path: Path
) -> None:
    kept = ObjectRef(CONFIG_MAP, world.namespace, "kept")
    path = collection("ConfigMap", world.namespace)
    async with running(hub, access, tmp_path / "agent", await join(client, "real"), allow_tokens=ALLOWED):
        both = [config_map(world, "kept", a="1"), config_map(world, "dropped", b="2")]
        await client.workloads.apply("pair", both, members=["real"])
        await until(client, "pair", lambda one: one.state in (State.APPLIED.value, State.AVAILABLE.value))
        await world.change(kept, {"data": {"a": "changed by hand"}})
        await world.driver.until(path, lambda items: data_of(items).get("kept") == {"a": "1"})
        await client.workloads.apply("pair", both[:1], members=["real"])
        left = await world.driver.until(path, lambda items: "dropped" not in data_of(items))
        assert "kept" in data_of(left)


async def test_a_token_works_in_the_member_and_only_for_accounts_on_its_own_list(
    hub: Hub, client: HubClient, driver: Driver, world: KubernetesWorld, access: AccessSource, tmp_path: Path
) -> None:
    async with running(hub, access, tmp_path / "agent", await join(client, "real"), allow_tokens=ALLOWED):
        await until_member(client, lambda member: member.HasField("status"))
        token = await client.tokens.create("real", "default", "default")
        with pytest.raises(PermissionDenied, match="allow-list"):
            await client.tokens.create("real", "kube-system", "default")
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token.secret.reveal()},
    }
    answer = await driver.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert answer["status"]["authenticated"]
    assert answer["status"]["user"]["username"] == "system:serviceaccount:default:default"


async def test_an_agent_whose_pod_moved_goes_on_with_the_identity_in_its_secret(
    hub: Hub, client: HubClient, world: KubernetesWorld, access: AccessSource, tmp_path: Path
) -> None:
    async with running(hub, access, tmp_path / "first", await join(client, "real"), allow_tokens=ALLOWED):
        await client.workloads.apply("stays", [config_map(world, "stays", a="1")], members=["real"])
        await until(client, "stays", lambda one: one.state in (State.APPLIED.value, State.AVAILABLE.value))
    before = await world.read(ObjectRef(CONFIG_MAP, world.namespace, "stays"))
    async with running(hub, access, tmp_path / "elsewhere", allow_tokens=ALLOWED):
        await until_member(
            client, lambda one: one.session_epoch == 2 and one.liveness == member_pb2.LIVENESS_ONLINE
        )
        await until(client, "stays", lambda one: not one.assignments[0].stale)
    after = await world.read(ObjectRef(CONFIG_MAP, world.namespace, "stays"))
    assert before is not None and after is not None
    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
