"""What a root sees of GPUs and members far below, over real sockets."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from arbora.capacity.aggregate import TreeRow, from_wire
from arbora.secret import Secret
from arbora.v1 import enrollment_pb2, member_pb2
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.hub import RunningHub, running_agent, running_hub


async def child_hub(stack: AsyncExitStack, parent: RunningHub, folder: Path, name: str) -> RunningHub:
    made = await parent.admin.join_tokens.create(name, kind=enrollment_pb2.CHILD_KIND_HUB)
    below = running_hub(folder, parent=parent.hub.join_address, join_token=Secret(made.token), name=name)
    hub = await stack.enter_async_context(below)
    await parent.until(name, Liveness.ONLINE)
    return hub


def rows(hub: RunningHub, name: str) -> list[TreeRow]:
    child = hub.hub.inventory.find(name)
    assert child is not None
    return [row for message in child.sketches.values() for row in from_wire(message)]


async def test_a_root_sees_the_gpus_of_a_member_two_hubs_down_and_that_they_are_gone_with_it(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        root = await stack.enter_async_context(running_hub(tmp_path / "root"))
        eu = await child_hub(stack, root, tmp_path / "eu", "eu")
        paris = await child_hub(stack, eu, tmp_path / "paris", "paris")
        region = root.hub.inventory.find("eu")
        assert region is not None

        async def free() -> bool:
            return [(row.labels, row.row.free) for row in rows(root, "eu")] == [((("zone", "z"),), 16)]

        async def online() -> bool:
            subtree, line = region.subtree, region.lines.get("paris/edge")
            return (
                subtree is not None
                and (subtree.members_online, list(subtree.hubs)) == (1, [paris.hub.authority.hub_id])
                and line is not None
                and line.liveness == member_pb2.LIVENESS_ONLINE
                and [(one.total, one.free) for one in line.gpus] == [(16, 16)]
            )

        async def stale() -> bool:
            return [(row.stale, row.row.total, row.row.free) for row in rows(root, "eu")] == [(True, 16, 0)]

        async def not_online() -> bool:
            return region.subtree is not None and (region.subtree.members, region.subtree.members_online) == (
                1,
                0,
            )

        async with running_agent(paris, tmp_path / "agents", "edge", "2x8xH100", labels={"zone": "z"}):
            await eventually(free, "the root to see 16 free GPUs with the member's labels")
            await eventually(online, "the root to have the member's line")
        await eventually(stale, "the root to see that nothing of it is free")
        await eventually(not_online, "the root to count the member as not online")
