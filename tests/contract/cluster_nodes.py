"""What every adapter of the port `Cluster` does for the agents of nodes, as tests over a `NodesWorld`.

For: the adapters' own test modules, as `cluster.py`: which pods hold GPUs, whose a token is, marks on nodes.
"""

from __future__ import annotations

from typing import Protocol

import pytest

from arbora.secret import Secret
from arbora_agent.cluster.port import GpuPod, NodeMark, ObjectRejected, ReviewedToken
from tests.contract.cluster_world import PRODUCT, Changes, World, gpu_job

AUDIENCE = "arbora.dev/node-agent"


class NodesWorld(World, Protocol):
    """A `World` with tokens of pods and a look at what nodes show."""

    async def token(self, account: str, audience: str, node: str) -> Secret:
        """A token of an account of the namespace, bound to a pod on `node`; empty: to none."""
        ...

    async def shown(self, node: str) -> tuple[bool, bool | None]:
        """Whether it is tainted by us, and our condition; None: it has none."""
        ...


class ClusterNodesContract:
    """The tests. A subclass is named Test* and gives the fixture `world`."""

    async def test_a_token_names_its_account_and_its_node(self, world: NodesWorld) -> None:
        cluster, node = await world.cluster(), world.name("node")
        await world.add_node(node, gpus=1, product=PRODUCT)
        token = await world.token("watcher", AUDIENCE, node)
        assert await cluster.review_token(token, AUDIENCE) == ReviewedToken(world.namespace, "watcher", node)

    async def test_a_token_for_somebody_else_is_a_rejection(self, world: NodesWorld) -> None:
        cluster, node = await world.cluster(), world.name("node")
        await world.add_node(node, gpus=1, product=PRODUCT)
        token = await world.token("watcher", "somebody-else", node)
        with pytest.raises(ObjectRejected) as refusal:
            await cluster.review_token(token, AUDIENCE)
        assert token.reveal() not in str(refusal.value)

    async def test_a_token_bound_to_no_pod_names_no_node(self, world: NodesWorld) -> None:
        cluster = await world.cluster()
        token = await world.token("watcher", AUDIENCE, "")
        assert (await cluster.review_token(token, AUDIENCE)).node == ""

    async def test_a_token_that_somebody_changed_is_a_rejection(self, world: NodesWorld) -> None:
        cluster = await world.cluster()
        header, claims, signature = (await world.token("watcher", AUDIENCE, "")).reveal().split(".")
        with pytest.raises(ObjectRejected):
            await cluster.review_token(Secret(f"{header}.{claims}.{signature[::-1]}"), AUDIENCE)

    async def test_pods_that_hold_gpus_are_listed_with_their_node(self, world: NodesWorld) -> None:
        cluster = await world.cluster()
        changes, node = Changes(cluster), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await world.run_pod("busy", gpus=3, node=node)
        wanted = GpuPod(node, world.namespace, "busy", (("nvidia.com/gpu", 3),))
        await changes.until(lambda: wanted in cluster.gpu_pods())
        await world.finish_pod("busy")
        await changes.until(lambda: wanted not in cluster.gpu_pods())

    async def test_a_pod_of_a_workloads_job_names_the_workload(self, world: NodesWorld) -> None:
        cluster = await world.cluster()
        changes, node, workload = Changes(cluster), world.name("node"), world.name("w")
        await world.add_node(node, gpus=8, product=PRODUCT)
        applied = await cluster.apply(gpu_job(world, "train", 2), workload_uid=workload, generation=1)
        await world.start_job(applied.ref, node)
        await changes.until(lambda: workload in {pod.workload_uid for pod in cluster.gpu_pods()})
        (pod,) = [pod for pod in cluster.gpu_pods() if pod.workload_uid == workload]
        assert pod.gpus == (("nvidia.com/gpu", 2),)

    async def test_a_node_shows_that_its_gpus_are_not_well_and_later_that_they_are(
        self, world: NodesWorld
    ) -> None:
        cluster, node = await world.cluster(), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await cluster.mark_node(node, NodeMark(taint=True, condition=True, reason="GpuLost", message="GPU 3"))
        assert await world.shown(node) == (True, True)
        await cluster.mark_node(node, NodeMark(taint=False, condition=False, reason="AllWell"))
        assert await world.shown(node) == (False, False)

    async def test_what_is_not_to_be_shown_is_left_alone(self, world: NodesWorld) -> None:
        cluster, node = await world.cluster(), world.name("node")
        await world.add_node(node, gpus=8, product=PRODUCT)
        await cluster.mark_node(node, NodeMark(taint=True))
        assert await world.shown(node) == (True, None)
        await cluster.mark_node(node, NodeMark(condition=True, reason="GpuLost"))
        assert await world.shown(node) == (True, True)
        await cluster.mark_node(node, NodeMark(taint=False))
        assert await world.shown(node) == (False, True)

    async def test_marking_a_node_that_is_not_there_is_a_rejection(self, world: NodesWorld) -> None:
        cluster = await world.cluster()
        with pytest.raises(ObjectRejected):
            await cluster.mark_node(world.name("gone"), NodeMark(taint=True))
