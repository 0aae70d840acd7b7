"""What clients are told of single GPUs and of their sums, over real links: the past is not the present."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from arbora.errors import Conflict, InvalidInput, NotFound
from arbora.gpus.health import Health
from arbora.rpc.channel import client_channel
from arbora.secret import Secret
from arbora.v1 import access_pb2, enrollment_pb2, gpu_pb2
from arbora.v1.gpu_pb2_grpc import GpuServiceStub
from arbora_agent.gpu.reading import Answer
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.gpus import recording_of, running_node_agent
from tests.support.hub import RunningHub, client_with, running_agent, running_hub

NODES = "127.0.0.1:0"
WORK = {"utilization": 80, "memory_used": 40 * 2**30, "power_mw": 500_000}


async def until_read(hub: RunningHub, count: int = 8) -> None:
    async def read() -> bool:
        return len([gpu async for gpu in hub.admin.gpus.list() if gpu.HasField("values_age")]) == count

    await eventually(read, "the devices are read")


async def hub_below(stack: AsyncExitStack, parent: RunningHub, name: str, folder: Path) -> RunningHub:
    """A hub that has joined `parent` and knows its path."""
    token = Secret(await parent.join_token(name, kind=enrollment_pb2.CHILD_KIND_HUB))
    hub = await stack.enter_async_context(
        running_hub(folder / f"hub-{name}", parent=parent.hub.join_address, join_token=token)
    )
    await eventually(lambda: hub.hub.uplink.connected, f"{name} online")
    await parent.until(name, Liveness.ONLINE)
    return hub


async def test_devices_of_a_member_are_listed_and_found_by_the_beginning_of_their_uuid(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        running_node_agent(member, "h100-0", recording_of("h100-0", **WORK)) as node,
    ):
        await until_read(hub)
        node.xid(3, 79, answer=Answer.LOST)

        async def lost() -> list[str]:
            bad = hub.admin.gpus.list("edge-7", health=Health.UNHEALTHY)
            return [gpu.device.uuid async for gpu in bad]

        assert await eventually(lost, "one is lost") == [node.uuid(3)]
        found = (await hub.admin.gpus.get(node.uuid(5), "edge-7", history=3600.0)).gpu
        assert (found.member, found.node, found.device.index, found.stale) == ("/edge-7", "h100-0", 5, False)
        assert (found.values.utilization, found.values.memory_used_mib) == (80, 40 * 1024)
        with pytest.raises(Conflict, match="8 GPUs"):
            await hub.admin.gpus.get("GPU-h100")
        with pytest.raises(NotFound):
            await hub.admin.gpus.get("GPU-x")


async def test_sums_hold_what_kubernetes_counts_and_what_devices_say(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
        running_node_agent(member, "h100-0", recording_of("h100-0", **WORK)),
    ):
        await until_read(hub)
        for by in ("class", "member"):
            (row,) = await hub.admin.gpus.summarize(by=by)  # type: ignore[arg-type]
            assert (row.total, row.free, row.members) == (8, 8, 1)
            assert (row.rollup.devices, row.rollup.healthy, row.rollup.utilization_sum) == (8, 8, 64_000)
        (node,) = await hub.admin.gpus.summarize("edge-7", "node")
        assert (node.name, node.total, node.rollup.power_milliwatts) == ("h100-0", 8, 4_000_000)
        with pytest.raises(InvalidInput, match="nodes are those of one member"):
            await hub.admin.gpus.summarize(by="node")


async def test_what_a_member_said_before_it_was_cut_off_is_stale_and_in_no_sum(tmp_path: Path) -> None:
    async with (
        running_hub(tmp_path / "hub") as hub,
        running_agent(hub, tmp_path, "edge-7", "1x8xH100", node_address=NODES) as member,
    ):
        async with running_node_agent(member, "h100-0", recording_of("h100-0", **WORK)):
            await until_read(hub)
            await member.kill()

            async def stale() -> bool:
                return all([gpu.stale async for gpu in hub.admin.gpus.list()])

            await eventually(stale, "they are not heard of")
            for path, by in (("", "class"), ("", "member"), ("edge-7", "node")):
                (row,) = await hub.admin.gpus.summarize(path, by)  # type: ignore[arg-type]
                told = row.rollup
                assert (told.devices, told.silent, told.reporting) == (8, 8, 0), by
                assert (told.utilization_known, told.memory_used_mib, told.power_milliwatts) == (0, 0, 0), by
                assert told.healthy == 8, "their health is what was said last"


async def test_devices_are_listed_page_by_page_each_of_them_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub(tmp_path / "hub"))
        for name in ("edge-7", "edge-70"):
            member = await stack.enter_async_context(
                running_agent(hub, tmp_path, name, "1x8xH100", node_address=NODES)
            )
            recording = recording_of(f"{name}-0", **WORK)
            await stack.enter_async_context(running_node_agent(member, "h100-0", recording))
        await until_read(hub, 16)
        whole = [gpu.device.uuid async for gpu in hub.admin.gpus.list()]
        assert len(set(whole)) == 16
        async with client_channel(hub.context.hub, hub.context.ca.encode(), hub.context.token) as channel:
            list_gpus = GpuServiceStub(channel).ListGpus
            pages, token = [], ""
            while not pages or token:
                answer = await list_gpus(gpu_pb2.ListGpusRequest(page_size=5, page_token=token), timeout=5.0)
                pages.append([gpu.device.uuid for gpu in answer.gpus])
                token = answer.next_page_token
        assert [len(page) for page in pages] == [5, 5, 5, 1]
        assert [uuid for page in pages for uuid in page] == whole


async def test_two_hubs_up_a_viewer_reads_devices_their_history_and_sums_that_are_those_of_the_lowest_hub(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(running_hub(tmp_path / "hub-root"))
        eu = await hub_below(stack, root, "eu", tmp_path)
        paris = await hub_below(stack, eu, "paris", tmp_path)
        member = await stack.enter_async_context(
            running_agent(paris, tmp_path, "edge-7", "1x8xH100", node_address=NODES)
        )
        node = await stack.enter_async_context(
            running_node_agent(member, "h100-0", recording_of("h100-0", **WORK))
        )
        await until_read(paris)
        token = (await root.admin.access.create("eve", access_pb2.ROLE_VIEWER)).token
        viewer = await stack.enter_async_context(client_with(root, token))

        minute = int(time.time() // 60) - 1
        for hub in (paris, eu, root):
            # the minute ends as often as it takes: what is below has to arrive first
            async def summed(hub: RunningHub = hub) -> bool:
                await hub.hub.gpu_minutes.close(minute)
                found = [(row.total, row.members, row.rollup.devices) for row in await hub.admin.gpus.summarize()]
                return found == [(8, 1, 8)]

            await eventually(summed, "what is below the hub is known to it")
        (row,) = await viewer.gpus.summarize()
        assert (row.rollup.healthy, row.rollup.utilization_sum) == (8, 64_000)
        path = "/eu/paris/edge-7"
        devices = [gpu async for gpu in viewer.gpus.list(path)]
        assert [gpu.device.uuid for gpu in devices] == [node.uuid(index) for index in range(8)]
        assert {gpu.member for gpu in devices} == {path}
        kept, *_ = (await viewer.gpus.get(node.uuid(3), path, history=3600.0)).history
        assert (kept.utilization, kept.memory_used_mib, kept.power) == (80, 40 * 1024, 500)
        assert not (await viewer.gpus.get(node.uuid(3), path)).history, "none was asked for"
        with pytest.raises(NotFound):
            await viewer.gpus.get(node.uuid(3))
        with pytest.raises(NotFound):
            await viewer.gpus.get("GPU-x", path)
