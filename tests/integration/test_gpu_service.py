"""What clients are told of single GPUs and of their sums, over real links: the past is not the present."""

from __future__ import annotations

from pathlib import Path

import pytest

from arbora.errors import Conflict, InvalidInput, NotFound
from arbora.gpus.health import Health
from arbora_agent.gpu.reading import Answer
from tests.support.eventually import eventually
from tests.support.gpus import recording_of, running_node_agent
from tests.support.hub import RunningHub, running_agent, running_hub

NODES = "127.0.0.1:0"
WORK = {"utilization": 80, "memory_used": 40 * 2**30, "power_mw": 500_000}


async def until_read(hub: RunningHub, count: int = 8) -> None:
    async def read() -> bool:
        return len([gpu async for gpu in hub.admin.gpus.list() if gpu.HasField("values_age")]) == count

    await eventually(read, "the devices are read")


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
