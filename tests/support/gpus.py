"""GPUs of nodes in tests: devices that a recording plays, and node agents that read them over a real link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from arbora_agent.gpu.reading import GpuFacts, NodeFacts, Xid
from arbora_agent.gpu.recorded.form import Entry, Recording
from arbora_agent.gpu.recorded.reader import RecordedReader
from arbora_agent.node_agent.app import NodeAgent
from arbora_agent.node_agent.settings import NodeSettings
from arbora_agent.nodes.parts import SIMULATED
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent

H100 = "NVIDIA H100 80GB HBM3"
WELL = {
    "utilization": 0,
    "memory_used": 0,
    "temperature": 35,
    "power_mw": 75_000,
    "processes": 0,
    "throttle_reasons": 1,
    "recovery_action": 0,
    "remap_failed": False,
    "remap_pending": False,
}


def uuid_of(node: str, index: int) -> str:
    """The UUID of a device that a test made."""
    return f"GPU-{node}-{index}"


def facts_of(node: str, count: int = 8, name: str = H100) -> NodeFacts:
    """So many like devices."""
    gpus = tuple(
        GpuFacts(
            uuid_of(node, index),
            index,
            name,
            serial=f"serial-{index}",
            pci_bus_id=f"00000000:{index + 1:02X}:00.0",
            architecture="Hopper",
            compute_capability="9.0",
            memory_bytes=80 * 2**30,
        )
        for index in range(count)
    )
    return NodeFacts("570.86.10", "12.8", gpus)


def recording_of(node: str, count: int = 8, **values: Any) -> Recording:
    """Healthy devices that stay as they are."""
    read = {**WELL, **values}
    entries = [Entry(0.0, facts=facts_of(node, count))]
    entries += [Entry(0.0, uuid=uuid_of(node, index), read=read) for index in range(count)]
    return Recording("made by a test", False, tuple(entries))


@dataclass
class RunningNodeAgent:
    """A node agent and its devices."""

    node: str
    agent: NodeAgent
    reader: RecordedReader
    task: asyncio.Task[None]

    def uuid(self, index: int) -> str:
        """Of one device."""
        return uuid_of(self.node, index)

    def read(self, index: int, **changes: Any) -> None:
        """From now on a device reads so; it is looked at with the next reading."""
        self.reader.happen(Entry(0.0, uuid=self.uuid(index), read=changes))

    def xid(self, index: int, code: int, **changes: Any) -> None:
        """The driver reports an error, and the device reads so from now on."""
        entries = [Entry(0.0, uuid=self.uuid(index), read=changes)] if changes else []
        self.reader.happen(*entries, Entry(0.0, event=Xid(code, self.uuid(index))))


@asynccontextmanager
async def running_node_agent(
    member: RunningAgent, node: str, recording: Recording | None = None, **settings: Any
) -> AsyncIterator[RunningNodeAgent]:
    """The agent of one node of a member that listens for node agents, while the block lasts."""
    mounted = member.agent.settings.data_dir / SIMULATED / node
    await eventually((mounted / "token").exists, f"{member.name} listens for node agents")
    assert member.agent.nodes is not None
    reader = RecordedReader(recording or recording_of(node))
    wanted = NodeSettings(
        cluster_agent=f"127.0.0.1:{member.agent.nodes.server.port}",
        token_file=mounted / "token",
        ca_file=mounted / "ca.crt",
        **settings,
    )
    agent = NodeAgent(wanted, reader)
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop), name=f"node agent {node}")
    try:
        yield RunningNodeAgent(node, agent, reader, task)
    finally:
        stop.set()
        await asyncio.wait([task], timeout=5.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
