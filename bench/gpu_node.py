"""What the agent of a node with eight GPUs costs there, and what it sends: part `node` of the topic `gpus`.

Twice, as a process of its own that an installed node agent is, too: with a recording of eight H100 that train,
and with NVIDIA's binding over the library that the tests compile, whose eight H100 stand still. Readings every
10 s, the default. The window begins when what the start costs is over.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from arbora.v1 import member_pb2
from bench import proc
from bench.gpu_agents import PATH, WAIT_SECONDS, MemberWithNodes, member
from bench.processes import Running, hub, scratch
from bench.report import Report
from bench.watching import Seen, gpu_rows, seen_members
from tests.support.nvml import build
from tests.support.nvml.node import PlayedNode, h100

NODE = "h100-0"
GPUS = 8
SETTLE_SECONDS = 20.0
WINDOW_SECONDS = 120.0
SAMPLE_SECONDS = 1.0


async def run(report: Report) -> None:
    """Measure both ways of reading on one member."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        with_nodes = await stack.enter_async_context(member(folder, one, client, members, f"1x{GPUS}xH100"))
        replayed = await with_nodes.node_agent(folder, NODE, ("--replay", "h100x8", "--replay-again"))
        await _measure(report, "replayed", "a recording of 8 H100 that train", replayed, with_nodes, members)
        if why := build.why_not():
            report.missing("node.nvml_played.memory", "MB", why, at_most=60)
            return
        library = await asyncio.to_thread(build.build, folder)
        environ = {"LD_LIBRARY_PATH": str(folder), "FAKE_NVML": str(_played(folder))}
        played = await with_nodes.node_agent(folder, NODE, (), environ)
        what = f"nvidia-ml-py over the tests' {library.name}, 8 H100 whose values stand still"
        await _measure(report, "nvml_played", what, played, with_nodes, members)


async def _measure(
    report: Report,
    id: str,
    what: str,
    process: Running,
    with_nodes: MemberWithNodes,
    members: Seen[member_pb2.Member],
) -> None:
    report.say(f"node: {what}, {WINDOW_SECONDS:g} s")

    def observed() -> int:
        return sum(row.observed for row in gpu_rows([members.now[PATH]]))

    try:
        await process.start()
        await members.until(lambda: observed() == GPUS, WAIT_SECONDS)
        await asyncio.sleep(SETTLE_SECONDS)
        process.check()
        wire = await proc.traffic(with_nodes.port) if proc.ss_is_here() else None
        begun, cpu = time.perf_counter(), proc.cpu_seconds(process.pid)
        most = proc.memory(process.pid)
        while time.perf_counter() - begun < WINDOW_SECONDS:
            await asyncio.sleep(SAMPLE_SECONDS)
            most = max(most, proc.memory(process.pid), key=lambda one: one.rss)
        seconds, used = time.perf_counter() - begun, proc.cpu_seconds(process.pid) - cpu
        after = await proc.traffic(with_nodes.port) if proc.ss_is_here() else None
    finally:
        await process.stop()
    how = f"{what}, read every 10 s, one session with the cluster's agent; over {seconds:.0f} s"
    report.figure(
        f"node.{id}.cpu", used / seconds * 100, "%", f"user + system time of one core; {how}", at_most=1
    )
    report.figure(
        f"node.{id}.memory",
        most.rss * 1024 / 1e6,
        "MB",
        f"greatest VmRSS seen each second, RssAnon {most.anonymous * 1024 / 1e6:.0f}; {how}",
        at_most=60,
    )
    if wire is None or after is None:
        report.missing(f"node.{id}.wire", "B/s", "there is no ss (iproute2) here", at_most=20)
        return
    payload = (after.received - wire.received) / seconds / GPUS
    whole = (after.received_on_wire - wire.received_on_wire) / seconds / GPUS
    what = f"per GPU, node agent to cluster agent, with IP and TCP headers; TLS payload alone {payload:.1f} B/s"
    report.figure(f"node.{id}.wire", whole, "B/s", f"{what}; {how}", at_most=20)


def _played(folder: Path) -> Path:
    """The file of the played library."""
    file = folder / "node"
    node = PlayedNode(file)
    node.set("node", wait__step=250)
    for index in range(GPUS):
        node.add(str(index), h100(f"GPU-{index:08x}-0000-4000-8000-000000000000", index))
    return file
