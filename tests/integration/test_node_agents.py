"""GPUs as their devices say: from a driver's word to what the hub counts as free, over real links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from arbora.manifests.selectors import Selector
from arbora.v1 import member_pb2
from arbora.v1 import pod_resources_pb2 as pb
from arbora_agent.gpu.reading import Answer
from arbora_agent.nodes.parts import SIMULATED
from tests.support.eventually import eventually
from tests.support.gpus import recording_of, running_node_agent, uuid_of
from tests.support.hub import RunningHub, job, running_agent, running_hub

NODES = "127.0.0.1:0"


def row_of(hub: RunningHub, name: str = "edge-7") -> member_pb2.SketchRow | None:
    """The member's one row of GPUs, as its hub has it."""
    child = hub.hub.inventory.find(name)
    rows = [row for sketch in child.sketches.values() for row in sketch.rows] if child is not None else []
    return rows[0] if rows else None


def free(hub: RunningHub) -> int:
    row = row_of(hub)
    return -1 if row is None else row.free


async def test_a_gpu_that_falls_off_the_bus_leaves_what_is_free_at_the_hub(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        running_node_agent(member, "h100-0") as node,
    ):
        await eventually(lambda: (row := row_of(hub)) and row.observed == 8, "the devices are seen")
        assert free(hub) == 8
        node.xid(3, 79, answer=Answer.LOST)
        await eventually(lambda: free(hub) == 7, "one GPU less")
        row = row_of(hub)
        assert row is not None
        assert (row.unhealthy, row.total) == (1, 8)


async def test_a_workload_on_a_failing_gpu_gets_an_event_that_names_it(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        running_node_agent(member, "h100-0") as node,
    ):
        await hub.until_reported("edge-7")
        await hub.admin.workloads.apply("train", [job("train", gpus=8)], members=["edge-7"])
        await eventually(lambda: free(hub) == 0, "it runs")
        await eventually(lambda: member.agent.cluster.gpu_pods(), "its pods are seen")
        node.xid(2, 79)
        uuid = node.uuid(2)

        async def told() -> bool:
            return "GpuUnhealthy" in await hub.reasons("member/edge-7/workload/train")

        await eventually(told, "the workload is told")
        (event,) = [one for one in await hub.events("member/edge-7/workload") if one.reason == "GpuUnhealthy"]
        assert uuid in event.message
        assert "XID 79, the GPU has fallen off the bus" in event.message
        assert "Its pod default/train-" in event.message
        assert "GpuUnhealthy" in await hub.reasons(f"member/edge-7/gpu/h100-0/{uuid}")


async def test_an_error_of_an_application_changes_nothing_but_is_told(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        running_node_agent(member, "h100-0") as node,
    ):
        await eventually(lambda: (row := row_of(hub)) and row.observed == 8, "the devices are seen")
        for code in (94, 63, 92, 31):
            node.xid(0, code)

        async def told() -> bool:
            return "GpuApplicationError" in await hub.reasons("member/edge-7/gpu")

        await eventually(told, "told")
        assert free(hub) == 8


async def test_no_new_work_is_placed_on_a_draining_gpu_and_the_score_of_a_degraded_one_is_lower(
    tmp_path: Path,
) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "one", "1x1xH100", node_address=NODES) as one,
        running_agent(hub, tmp_path, "two", "1x1xH100", node_address=NODES) as two,
        running_node_agent(one, "h100-0", recording_of("h100-0", 1)) as first,
        running_node_agent(two, "h100-0", recording_of("h100-0", 1)) as second,
    ):
        for name in ("one", "two"):
            await eventually(lambda name=name: (row := row_of(hub, name)) and row.observed, f"{name} is seen")
        first.xid(0, 74)
        await eventually(lambda: (row := row_of(hub, "one")) and row.degraded == 1, "degraded")
        would = await hub.admin.workloads.apply(
            "careful", [job("careful")], selector=Selector(), placement={"clusters": 1}, dry_run=True
        )
        totals = {each.path: each.total for each in would.explanation.scored}
        assert totals["/two"] > totals["/one"]
        second.xid(0, 48)
        await eventually(lambda: (row := row_of(hub, "two")) and row.draining == 1, "draining")
        assert (row := row_of(hub, "two")) is not None
        assert row.free == 0


async def test_a_member_that_allows_it_taints_a_node_with_a_bad_gpu(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(
            hub, tmp_path, "edge-7", "2x8xH100", node_address=NODES, mark_nodes=("taint", "condition")
        ) as member,
        running_node_agent(member, "h100-0") as node,
    ):
        await eventually(lambda: (row := row_of(hub)) and row.observed == 8, "the devices are seen")
        node.read(1, answer=Answer.LOST)
        node.xid(1, 79)
        await eventually(lambda: member.simulation.nodes[0].tainted, "tainted")
        await eventually(lambda: free(hub) == 8, "the whole node takes no new work")


async def test_a_node_agent_that_comes_back_says_only_what_is_new(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
    ):
        async with running_node_agent(member, "h100-0") as node:
            node.xid(5, 95)
            await eventually(lambda: free(hub) == 7, "one GPU less")
        # Its agent is gone; what it said last still counts: a GPU does not get well because nobody looks.
        async with running_node_agent(member, "h100-0"):
            await eventually(lambda: free(hub) == 8, "another agent finds all well")


async def test_nobody_without_a_token_of_the_cluster_is_heard(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
    ):
        mounted = member.agent.settings.data_dir / SIMULATED / "h100-0"
        await eventually((mounted / "token").exists, "it listens")
        (mounted / "token").write_text("not.a.token")
        async with running_node_agent(member, "h100-0") as node:
            node.xid(0, 79)
            await eventually(lambda: "token" in node.agent.uplink.trouble, "refused")
            assert not node.agent.uplink.connected
            await eventually(lambda: free(hub) == 8, "the hub knows what Kubernetes says, and no more")


@asynccontextmanager
async def kubelet(folder: Path, said: Callable[[], pb.PodResourcesList]) -> AsyncIterator[Path]:
    """What a kubelet tells on its socket of the pods' devices, while the block lasts."""

    async def answer(request: bytes, context: object) -> pb.PodResourcesList:
        return said()

    how = grpc.unary_unary_rpc_method_handler(answer, None, pb.PodResourcesList.SerializeToString)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": how}),)
    )
    socket = folder / "kubelet.sock"
    server.add_insecure_port(f"unix://{socket}")
    await server.start()
    try:
        yield socket
    finally:
        await server.stop(None)


async def test_a_node_agent_that_may_ask_the_kubelet_names_the_very_pod_on_a_failing_gpu(tmp_path: Path) -> None:
    pods: list[pb.PodResources] = []
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        kubelet(tmp_path, lambda: pb.PodResourcesList(pod_resources=pods)) as socket,
    ):
        for name in ("one", "two"):
            await hub.admin.workloads.apply(name, [job(name, gpus=2)], members=["edge-7"])
        cluster = member.agent.cluster
        await eventually(lambda: len(cluster.gpu_pods()) == 2, "both run")
        for index, pod in enumerate(cluster.gpu_pods()):
            ids = [uuid_of("h100-0", 2 * index + each) for each in range(2)]
            devices = [pb.ContainerDevices(resource_name="nvidia.com/gpu", device_ids=ids)]
            containers = [pb.ContainerResources(devices=devices)]
            pods.append(pb.PodResources(name=pod.name, namespace=pod.namespace, containers=containers))
        async with running_node_agent(member, "h100-0", pod_resources=socket) as node:
            first, second = (pod.name for pod in cluster.gpu_pods())

            async def held() -> dict[int, list[str]]:
                return {
                    gpu.device.index: [holder.pod for holder in gpu.device.holders if holder.certain]
                    async for gpu in hub.admin.gpus.list("edge-7")
                    if gpu.device.holders
                }

            wanted = {0: [first], 1: [first], 2: [second], 3: [second]}

            async def known() -> bool:
                return await held() == wanted

            await eventually(known, "the holders are known")
            node.xid(3, 79)

            async def told() -> list[str]:
                return [
                    each.subject
                    for each in await hub.events("member/edge-7/workload")
                    if each.reason == "GpuUnhealthy"
                ]

            (subject,) = await eventually(told, "the workload is told")
            assert subject.rpartition("/")[2] in second
