"""What every adapter of the port `Cluster` does, as tests over a `World`.

For: the adapters' own test modules. Each of them derives a class from `ClusterContract` and gives a fixture
`world`: a cluster with the means to do from outside what the port does not offer (nodes that join, pods that
run, somebody who edits objects). The tests never look at how an adapter works.

    class TestSimulatedCluster(ClusterContract):
        @pytest.fixture
        async def world(self) -> AsyncIterator[World]: ...
"""

from __future__ import annotations

import pytest

from arbora.manifests.objects import Gvk, ObjectRef
from arbora_agent.cluster.port import ANNOTATION_GENERATION, LABEL_WORKLOAD, ObjectRejected
from tests.contract.cluster_world import (
    CONFIG_MAP,
    PRODUCT,
    Changes,
    World,
    config_map,
    gpu_job,
    on_node,
    only,
    requested,
    true_conditions,
)

__all__ = ["ClusterContract", "World"]


class ClusterContract:
    """The tests. A subclass is named Test* and gives the fixture `world`."""

    async def test_connecting_tells_which_cluster_it_is(self, world: World) -> None:
        cluster = await world.cluster()
        again = await world.cluster()
        facts = cluster.facts()
        assert facts.uid
        assert facts.uid == again.facts().uid
        assert facts.version.startswith("v1.")
        assert facts.api_healthy

    async def test_facts_count_nodes(self, world: World) -> None:
        cluster = await world.cluster()
        changes, before = Changes(cluster), cluster.facts().nodes
        await world.add_node(world.name("node"), gpus=1, product=PRODUCT)
        await changes.until(lambda: cluster.facts().nodes == before + 1)
        assert cluster.facts().nodes_ready <= cluster.facts().nodes

    async def test_apply_creates_the_object_and_marks_whose_it_is(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=3)
        assert applied.ref == ObjectRef(CONFIG_MAP, world.namespace, "settings")
        assert (applied.workload_uid, applied.generation) == ("w-1", 3)
        stored = await world.read(applied.ref)
        assert stored is not None
        assert stored["data"] == {"colour": "green"}
        assert stored["metadata"]["labels"][LABEL_WORKLOAD] == "w-1"
        assert stored["metadata"]["annotations"][ANNOTATION_GENERATION] == "3"
        assert stored["metadata"]["uid"] == applied.uid

    async def test_apply_does_not_change_the_callers_manifest(self, world: World) -> None:
        cluster = await world.cluster()
        manifest = config_map(world)
        await cluster.apply(manifest, workload_uid="w-1", generation=1)
        assert manifest == config_map(world)

    async def test_what_was_applied_is_known_at_once(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid=world.name("w"), generation=1)
        assert only(cluster.owned(applied.workload_uid)) == applied
        assert applied.workload_uid in cluster.owned_workloads()

    async def test_a_repeated_apply_changes_nothing(self, world: World) -> None:
        cluster = await world.cluster()
        first = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        again = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        assert again.resource_version == first.resource_version
        assert again == first

    async def test_a_changed_manifest_changes_the_object(self, world: World) -> None:
        cluster = await world.cluster()
        first = await cluster.apply(config_map(world, colour="green"), workload_uid="w-1", generation=1)
        second = await cluster.apply(config_map(world, colour="blue"), workload_uid="w-1", generation=2)
        assert second.body["data"] == {"colour": "blue"}
        assert second.generation == 2
        assert second.uid == first.uid
        assert second.resource_version != first.resource_version

    async def test_a_field_that_left_the_manifest_is_removed(self, world: World) -> None:
        cluster = await world.cluster()
        await cluster.apply(config_map(world, one="1", two="2"), workload_uid="w-1", generation=1)
        applied = await cluster.apply(config_map(world, one="1"), workload_uid="w-1", generation=2)
        assert applied.body["data"] == {"one": "1"}

    async def test_a_field_that_somebody_else_added_stays(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world, one="1"), workload_uid="w-1", generation=1)
        await world.change(applied.ref, {"data": {"theirs": "x"}})
        again = await cluster.apply(config_map(world, one="2"), workload_uid="w-1", generation=2)
        assert again.body["data"] == {"one": "2", "theirs": "x"}

    async def test_a_field_that_somebody_else_changed_is_taken_back(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world, one="1"), workload_uid="w-1", generation=1)
        await world.change(applied.ref, {"data": {"one": "theirs"}})
        again = await cluster.apply(config_map(world, one="1"), workload_uid="w-1", generation=1)
        assert again.body["data"] == {"one": "1"}

    async def test_a_namespaced_object_without_a_namespace_goes_to_default(self, world: World) -> None:
        cluster = await world.cluster()
        manifest = config_map(world, world.name("homeless"))
        del manifest["metadata"]["namespace"]
        applied = await cluster.apply(manifest, workload_uid="w-1", generation=1)
        assert applied.ref.namespace == "default"
        await cluster.delete(applied)

    async def test_a_cluster_scoped_object_has_no_namespace(self, world: World) -> None:
        cluster = await world.cluster()
        name = world.name("team")
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        applied = await cluster.apply(manifest, workload_uid="w-1", generation=1)
        assert applied.ref == ObjectRef(Gvk("v1", "Namespace"), "", name)
        inside = config_map(world)
        inside["metadata"]["namespace"] = name
        assert (await cluster.apply(inside, workload_uid="w-1", generation=1)).ref.namespace == name

    async def test_a_rejection_carries_the_api_servers_words(self, world: World) -> None:
        cluster = await world.cluster()
        with pytest.raises(ObjectRejected) as rejection:
            await cluster.apply(config_map(world, "Not_A_Name"), workload_uid="w-1", generation=1)
        assert "Not_A_Name" in str(rejection.value)
        assert await world.read(ObjectRef(CONFIG_MAP, world.namespace, "Not_A_Name")) is None

    async def test_a_namespace_that_is_not_there_is_a_rejection(self, world: World) -> None:
        cluster = await world.cluster()
        manifest = config_map(world)
        manifest["metadata"]["namespace"] = "nowhere"
        with pytest.raises(ObjectRejected, match='namespaces "nowhere" not found'):
            await cluster.apply(manifest, workload_uid="w-1", generation=1)

    async def test_an_object_without_a_name_is_a_rejection(self, world: World) -> None:
        cluster = await world.cluster()
        manifest = config_map(world)
        del manifest["metadata"]["name"]
        with pytest.raises(ObjectRejected, match="name"):
            await cluster.apply(manifest, workload_uid="w-1", generation=1)

    async def test_an_object_of_another_workload_is_not_taken_over(self, world: World) -> None:
        cluster = await world.cluster()
        mine = await cluster.apply(config_map(world, colour="mine"), workload_uid="w-1", generation=1)
        for adapter in (cluster, await world.cluster()):
            with pytest.raises(ObjectRejected, match="w-1"):
                await adapter.apply(config_map(world, colour="theirs"), workload_uid="w-2", generation=1)
        stored = await world.read(mine.ref)
        assert stored is not None
        assert stored["data"] == {"colour": "mine"}

    async def test_an_object_that_nobody_manages_is_not_taken_over(self, world: World) -> None:
        await world.create(config_map(world, colour="theirs"))
        cluster = await world.cluster()
        with pytest.raises(ObjectRejected, match="isn't managed by Arbora"):
            await cluster.apply(config_map(world, colour="mine"), workload_uid="w-1", generation=1)
        stored = await world.read(ObjectRef(CONFIG_MAP, world.namespace, "settings"))
        assert stored is not None
        assert stored["data"] == {"colour": "theirs"}

    async def test_an_object_that_asks_to_be_adopted_is_taken_over(self, world: World) -> None:
        theirs = config_map(world, colour="theirs")
        theirs["metadata"]["annotations"] = {"arbora.dev/adopt": "true"}
        await world.create(theirs)
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world, colour="mine"), workload_uid="w-1", generation=1)
        assert applied.body["data"] == {"colour": "mine"}

    async def test_objects_are_kept_apart_by_workload(self, world: World) -> None:
        cluster = await world.cluster()
        first, second = world.name("w"), world.name("w")
        for name, workload in (("a", first), ("b", first), ("c", second)):
            await cluster.apply(config_map(world, name), workload_uid=workload, generation=1)
        assert sorted(each.ref.name for each in cluster.owned(first)) == ["a", "b"]
        assert sorted(each.ref.name for each in cluster.owned(second)) == ["c"]
        assert {first, second} <= cluster.owned_workloads()
        assert list(cluster.owned("nobody")) == []

    async def test_a_new_agent_finds_what_the_last_one_applied(self, world: World) -> None:
        workload, before = world.name("w"), await world.cluster()
        objects = [
            await before.apply(config_map(world), workload_uid=workload, generation=7),
            await before.apply(gpu_job(world, "train", 1), workload_uid=workload, generation=7),
        ]
        await world.stop(before)
        after = await world.cluster()
        assert {each.ref: each.uid for each in after.owned(workload)} == {each.ref: each.uid for each in objects}
        assert {each.generation for each in after.owned(workload)} == {7}
        assert workload in after.owned_workloads()

    async def test_delete_removes_the_object(self, world: World) -> None:
        cluster = await world.cluster()
        changes, workload = Changes(cluster), world.name("w")
        applied = await cluster.apply(config_map(world), workload_uid=workload, generation=1)
        await cluster.delete(applied)
        await changes.until(lambda: not cluster.owned(workload))
        assert await world.read(applied.ref) is None
        assert workload not in cluster.owned_workloads()
        assert (applied.ref, workload) in changes.objects

    async def test_deleting_what_is_gone_is_fine(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        await cluster.delete(applied)
        await cluster.delete(applied)

    async def test_what_somebody_created_anew_under_the_name_is_not_deleted(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        await world.remove(applied.ref)
        await world.create(config_map(world, colour="theirs"))
        await cluster.delete(applied)
        stored = await world.read(applied.ref)
        assert stored is not None
        assert stored["data"] == {"colour": "theirs"}

    async def test_what_somebody_created_anew_under_the_name_is_not_taken_over(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        await world.remove(applied.ref)
        await world.create(config_map(world, colour="theirs"))
        with pytest.raises(ObjectRejected, match="isn't managed by Arbora"):
            await cluster.apply(config_map(world), workload_uid="w-1", generation=2)

    async def test_an_object_that_vanished_is_created_again(self, world: World) -> None:
        cluster = await world.cluster()
        applied = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        await world.remove(applied.ref)
        again = await cluster.apply(config_map(world), workload_uid="w-1", generation=1)
        assert again.uid != applied.uid
        assert await world.read(applied.ref) is not None

    async def test_a_change_from_outside_is_told(self, world: World) -> None:
        cluster = await world.cluster()
        workload = world.name("w")
        applied = await cluster.apply(config_map(world), workload_uid=workload, generation=1)
        changes = Changes(cluster)
        await world.change(applied.ref, {"data": {"colour": "red"}})
        await changes.until(lambda: only(cluster.owned(workload)).body["data"]["colour"] == "red")
        assert (applied.ref, workload) in changes.objects

    async def test_a_deletion_from_outside_is_told(self, world: World) -> None:
        cluster = await world.cluster()
        workload = world.name("w")
        applied = await cluster.apply(config_map(world), workload_uid=workload, generation=1)
        changes = Changes(cluster)
        await world.remove(applied.ref)
        await changes.until(lambda: not cluster.owned(workload))
        assert (applied.ref, workload) in changes.objects

    async def test_an_object_that_loses_our_label_is_no_longer_ours(self, world: World) -> None:
        cluster = await world.cluster()
        workload = world.name("w")
        applied = await cluster.apply(config_map(world), workload_uid=workload, generation=1)
        changes = Changes(cluster)
        await world.change(applied.ref, {"metadata": {"labels": {LABEL_WORKLOAD: None}}})
        await changes.until(lambda: workload not in cluster.owned_workloads())
        assert (applied.ref, workload) in changes.objects

    async def test_the_gpus_of_a_node_appear(self, world: World) -> None:
        cluster = await world.cluster()
        changes, node = Changes(cluster), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await changes.until(lambda: on_node(cluster, node) is not None)
        gpus = on_node(cluster, node)
        assert gpus is not None
        assert (gpus.gpu_class.vendor, gpus.gpu_class.product) == ("nvidia", PRODUCT)
        assert (gpus.capacity, gpus.allocatable, gpus.requested, gpus.free) == (8, 8, 0, 8)
        assert gpus.usable
        names = [each.node for each in cluster.gpus()]
        assert names == sorted(names)

    async def test_a_running_pod_takes_gpus_until_it_finishes(self, world: World) -> None:
        cluster = await world.cluster()
        changes, node = Changes(cluster), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await world.run_pod("busy", gpus=3, node=node)
        await changes.until(lambda: requested(cluster, node) == 3)
        await world.finish_pod("busy")
        await changes.until(lambda: requested(cluster, node) == 0)

    async def test_a_pod_without_a_place_counts_as_pending(self, world: World) -> None:
        cluster = await world.cluster()
        changes, before = Changes(cluster), cluster.pending_gpus().get("nvidia.com/gpu", 0)
        await world.run_pod("waiting", gpus=64, node="")
        await changes.until(lambda: cluster.pending_gpus().get("nvidia.com/gpu", 0) == before + 64)

    async def test_a_cordoned_node_has_nothing_free(self, world: World) -> None:
        cluster = await world.cluster()
        changes, node = Changes(cluster), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await world.cordon(node)
        await changes.until(lambda: (found := on_node(cluster, node)) is not None and not found.usable)
        found = on_node(cluster, node)
        assert found is not None
        assert (found.allocatable, found.free) == (8, 0)

    async def test_a_job_takes_gpus_finishes_and_frees_them(self, world: World) -> None:
        cluster = await world.cluster()
        changes, node, workload = Changes(cluster), world.name("node"), world.name("w")
        await world.add_node(node, gpus=8, product=PRODUCT)
        applied = await cluster.apply(gpu_job(world, "train", 2), workload_uid=workload, generation=1)
        await world.start_job(applied.ref, node)
        await changes.until(lambda: requested(cluster, node) == 2)
        await world.finish_job(applied.ref)
        await changes.until(lambda: requested(cluster, node) == 0)
        await changes.until(lambda: "Complete" in true_conditions(only(cluster.owned(workload))))
        assert only(cluster.owned(workload)).body["status"]["succeeded"] == 1

    async def test_a_token_is_minted_for_a_service_account(self, world: World) -> None:
        cluster = await world.cluster()
        account = {"apiVersion": "v1", "kind": "ServiceAccount"}
        await world.create({**account, "metadata": {"name": "reader", "namespace": world.namespace}})
        minted = await cluster.mint_token(world.namespace, "reader", ["arbora-test"], 900)
        assert minted.token.reveal().count(".") == 2
        assert minted.lifetime == pytest.approx(900, abs=5)
        assert minted.token.reveal() not in repr(minted)

    async def test_a_token_for_an_unknown_account_is_a_rejection(self, world: World) -> None:
        cluster = await world.cluster()
        with pytest.raises(ObjectRejected, match="nobody"):
            await cluster.mint_token(world.namespace, "nobody", ["arbora-test"], 900)
