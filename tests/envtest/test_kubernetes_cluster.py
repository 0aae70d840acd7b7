"""What only a real API server shows: outages, kinds that appear, versions, rights."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from arbora.manifests.objects import Gvk
from arbora_agent.cluster.kubernetes import KubernetesCluster, from_kubeconfig
from arbora_agent.cluster.kubernetes.kinds import CONFIG_MAP as APPLIED_KINDS
from arbora_agent.cluster.port import ClusterUnavailable, ObjectRejected
from tests.contract.cluster_world import PRODUCT, Changes, config_map, gpu_job, on_node, only
from tests.envtest.controlplane import ControlPlane
from tests.envtest.driver import Driver, KubernetesWorld, pod_manifest
from tests.envtest.installed import install, settings


@pytest.fixture
async def world(plane: ControlPlane, driver: Driver) -> AsyncIterator[KubernetesWorld]:
    async with KubernetesWorld(driver, from_kubeconfig(plane.kubeconfig)) as world:
        yield world


def custom_kind(kind: str, group: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": f"{kind.lower()}s", "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def autoscaler(world: KubernetesWorld, version: str) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": world.namespace},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target},
    }


async def test_an_outage_of_the_api_server_is_told_and_survived(
    world: KubernetesWorld, plane: ControlPlane
) -> None:
    cluster = await world.cluster()
    changes, workload = Changes(cluster), world.name("w")
    applied = await cluster.apply(config_map(world), workload_uid=workload, generation=1)
    await plane.kill_apiserver()
    try:
        with pytest.raises(ClusterUnavailable, match="can't be reached"):
            await cluster.apply(config_map(world, colour="red"), workload_uid=workload, generation=2)
        await changes.until(lambda: not cluster.facts().api_healthy)
        assert cluster.facts().message
        assert only(cluster.owned(workload)) == applied
    finally:
        await plane.start_apiserver()
    node = world.name("node")
    await world.add_node(node, gpus=4, product=PRODUCT)
    await world.change(applied.ref, {"data": {"colour": "after"}})
    await changes.until(lambda: only(cluster.owned(workload)).body["data"]["colour"] == "after")
    await changes.until(lambda: on_node(cluster, node) is not None)
    assert cluster.facts().api_healthy


async def test_connecting_to_nothing_says_so(world: KubernetesWorld, plane: ControlPlane) -> None:
    await plane.kill_apiserver()
    cluster = KubernetesCluster(from_kubeconfig(plane.kubeconfig))
    try:
        with pytest.raises(ClusterUnavailable, match="can't be reached"):
            await cluster.connect()
        assert not cluster.facts().api_healthy
    finally:
        await cluster.close()
        await plane.start_apiserver()


async def test_an_unknown_kind_is_a_rejection_that_names_it(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    manifest = {"apiVersion": "nowhere.example/v1", "kind": "Gadget", "metadata": {"name": "g"}}
    with pytest.raises(ObjectRejected, match=r"no kind Gadget in nowhere\.example/v1") as rejection:
        await cluster.apply(manifest, workload_uid="w-1", generation=1)
    assert rejection.value.hint == "Install its CRD first."


async def test_an_object_of_a_kind_that_was_just_defined_is_applied(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    workload, group = world.name("w"), f"{world.namespace}.example"
    await cluster.apply(custom_kind("Gadget", group), workload_uid=workload, generation=1)
    gadget = {"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 3}}
    applied = await cluster.apply(gadget, workload_uid=workload, generation=1)
    assert applied.ref.namespace == "default"
    changes = Changes(cluster)
    for each in reversed(cluster.owned(workload)):
        await cluster.delete(each)
    await changes.until(lambda: not cluster.owned(workload))


async def test_a_new_agent_finds_kinds_that_the_last_one_was_the_first_to_apply(world: KubernetesWorld) -> None:
    before = await world.cluster()
    workload, group = world.name("w"), f"{world.namespace}.example"
    await before.apply(custom_kind("Widget", group), workload_uid=workload, generation=1)
    widget = {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "w"}}
    await before.apply(widget, workload_uid=workload, generation=1)
    await world.stop(before)
    after = await world.cluster()
    assert {each.ref.gvk.kind for each in after.owned(workload)} == {"CustomResourceDefinition", "Widget"}
    record = await world.driver.ask("GET", f"/api/v1/namespaces/arbora-system/configmaps/{APPLIED_KINDS}")
    assert record["data"][f"Widget.{group}"] == "v1"
    await world.driver.ask("DELETE", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.{group}")


async def test_one_object_in_two_versions_is_one_object(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    workload = world.name("w")
    first = await cluster.apply(autoscaler(world, "v1"), workload_uid=workload, generation=1)
    second = await cluster.apply(autoscaler(world, "v2"), workload_uid=workload, generation=2)
    assert second.uid == first.uid
    assert only(cluster.owned(workload)).ref.gvk == Gvk("autoscaling/v2", "HorizontalPodAutoscaler")
    again = await world.cluster()
    assert only(again.owned(workload)).ref == second.ref
    await again.delete(second)


async def test_an_exported_manifest_is_applied_without_what_the_server_wrote(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
    exported = await world.read(applied.ref)
    assert exported is not None
    renamed = {**exported, "metadata": {**exported["metadata"], "name": "copy"}}
    copy = await cluster.apply(renamed, workload_uid="w-1", generation=1)
    assert copy.uid != applied.uid


async def test_the_pods_of_a_deleted_job_go_with_it(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    workload = world.name("w")
    applied = await cluster.apply(gpu_job(world, "train", 1), workload_uid=workload, generation=1)
    await world.driver.pods_of_job(world.namespace, "train")
    await cluster.delete(applied)
    await world.driver.until(f"/api/v1/namespaces/{world.namespace}/pods", lambda pods: not pods)


async def test_a_pod_that_is_only_initialising_holds_what_its_init_containers_ask_for(
    world: KubernetesWorld,
) -> None:
    cluster = await world.cluster()
    changes, node = Changes(cluster), world.name("node")
    await world.add_node(node, gpus=8, product=PRODUCT)
    pod = pod_manifest(world.namespace, "init", gpus=1, node=node)
    pod["spec"]["initContainers"] = [
        {"name": "warm", "image": "registry.invalid/w:1", "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    ]
    await world.create(pod)
    await changes.until(lambda: (found := on_node(cluster, node)) is not None and found.requested == 4)


async def test_a_name_that_climbs_is_a_rejection(world: KubernetesWorld) -> None:
    cluster = await world.cluster()
    for name in ("..", ".", "../../../namespaces/kube-system", "a%2Fb", "a?dryRun=All", "a/status"):
        with pytest.raises(ObjectRejected):
            await cluster.apply(config_map(world, name), workload_uid="w-1", generation=1)


async def test_what_was_not_granted_is_a_rejection_that_says_how_to_grant_it(
    plane: ControlPlane, driver: Driver, tmp_path: Path
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    async with KubernetesWorld(driver) as world:
        secret["metadata"] = {"name": "s", "namespace": world.namespace}
        world.access = await install(plane, driver, tmp_path, settings())
        cluster = await world.cluster()
        workload = world.name("w")
        with pytest.raises(ObjectRejected, match="forbidden") as rejection:
            await cluster.apply(secret, workload_uid=workload, generation=1)
        assert "--grant" in rejection.value.hint
        with pytest.raises(ObjectRejected, match="forbidden"):
            await cluster.mint_token("kube-system", "default", [], 600)
        again = await world.cluster()
        assert again.owned(workload) == ()
        world.access = await install(plane, driver, tmp_path, settings(grants=("core/secrets",)))
        granted = await world.cluster()
        applied = await granted.apply(secret, workload_uid=workload, generation=1)
        assert applied.ref.gvk.kind == "Secret"
        await granted.delete(applied)
        await install(plane, driver, tmp_path, settings())


async def test_a_refused_token_is_read_again(plane: ControlPlane, driver: Driver, tmp_path: Path) -> None:
    async with KubernetesWorld(driver) as world:
        world.access = await install(plane, driver, tmp_path, settings())
        good = (tmp_path / "token").read_text()
        (tmp_path / "token").write_text("stale")
        cluster = KubernetesCluster(world.access)
        try:
            with pytest.raises(ClusterUnavailable):
                await cluster.connect()
            (tmp_path / "token").write_text(good)
            assert (await cluster.connect()).uid
        finally:
            await cluster.close()
