"""GPUs as their devices say: from a driver's word to what the hub counts as free, over real links."""

from __future__ import annotations

from pathlib import Path

from arbora.v1 import member_pb2
from arbora_agent.gpu.reading import Answer
from tests.support.eventually import eventually
from tests.support.gpus import running_node_agent
from tests.support.hub import RunningHub, running_agent, running_hub

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
