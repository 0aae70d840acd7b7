"""From a driver's word to a hub that no longer counts the device as free: part `faults` of the topic `gpus`.

Hub and member are processes; the node agents run in this one, so that a fault has an exact moment: the driver's
error code, and with it what the device answers from then on. The end is what a client's watch of the hub sees.
Each fault takes a device that was well; the cluster goes on counting it as free, as real ones do.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from arbora.v1 import member_pb2
from arbora_agent.gpu.reading import Answer, Xid
from arbora_agent.gpu.recorded.form import Entry
from arbora_agent.gpu.recorded.reader import RecordedReader
from arbora_agent.node_agent.app import NodeAgent
from arbora_agent.node_agent.settings import NodeSettings
from bench.gpu_agents import PATH, MemberWithNodes, member
from bench.gpu_recordings import h100s, steady
from bench.processes import hub, scratch
from bench.report import Report
from bench.watching import Seen, gpu_rows, seen_members

NODES = 48
GPUS = 8
WAIT_SECONDS = 30.0
FAULTS: tuple[tuple[str, str, int, Mapping[str, Any]], ...] = (
    ("xid79", "XID 79, the device still answers", 79, {}),
    ("lost", "NVML answers GPU_IS_LOST, reported with XID 154", 154, {"answer": Answer.LOST}),
    ("remap_failed", "remap failed, reported with XID 64", 64, {"remap_failed": True}),
)


async def run(report: Report) -> None:
    """Every device of the member fails once, one after the other, the kinds of faults in turn."""
    async with AsyncExitStack() as stack:
        # Here every fault is wanted; the node agents of this process would warn of each.
        before = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        stack.callback(lambda: structlog.configure(**before))
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        fleet = f"{NODES}x{GPUS}xH100"
        with_nodes = await stack.enter_async_context(member(folder, one, client, members, fleet))
        nodes = [await stack.enter_async_context(_node(with_nodes, number)) for number in range(NODES)]

        def free() -> int:
            return sum(row.free for row in gpu_rows([members.now[PATH]]))

        def observed() -> int:
            return sum(row.observed for row in gpu_rows([members.now[PATH]]))

        await members.until(lambda: observed() == NODES * GPUS, WAIT_SECONDS)
        report.say(f"faults: {NODES * GPUS} devices fail, one after the other")
        samples: dict[str, list[float]] = {name: [] for name, *_ in FAULTS}
        left = NODES * GPUS
        for index in range(GPUS):
            for number, reader in enumerate(nodes):
                name, _, code, read = FAULTS[(index + number) % len(FAULTS)]
                left -= 1
                samples[name].append(await _fail(reader, _uuid(number, index), code, read, members, free, left))
        for name, what, *_ in FAULTS:
            how = (
                f"{what} -> a client's watch of the hub sees one free GPU less; replayed, {NODES} node agents in "
                f"the bench's process, member and hub processes of their own, one fault at a time"
            )
            report.quantile(f"fault.{name}", samples[name], 0.5, "ms", how)
            report.quantile(f"fault.{name}", samples[name], 0.99, "ms", how, at_most=500)


async def _fail(
    reader: RecordedReader,
    uuid: str,
    code: int,
    read: Mapping[str, Any],
    members: Seen[member_pb2.Member],
    free: Any,
    left: int,
) -> float:
    """Milliseconds of one fault."""
    entries = [Entry(0.0, uuid=uuid, read=read)] if read else []
    begun = time.perf_counter()
    reader.happen(*entries, Entry(0.0, event=Xid(code, uuid)))
    ended = await members.until(lambda: free() == left, WAIT_SECONDS)
    return (ended - begun) * 1000


@asynccontextmanager
async def _node(with_nodes: MemberWithNodes, number: int) -> AsyncIterator[RecordedReader]:
    """The agent of one node, until the block ends; what it reads."""
    mounted = await with_nodes.mount(f"h100-{number}")
    reader = RecordedReader(steady(number, GPUS, 60, prefix=f"{number:x}"), again=True)
    settings = NodeSettings(with_nodes.address, mounted / "token", mounted / "ca.crt", kernel_log=False)
    stop = asyncio.Event()
    task = asyncio.create_task(NodeAgent(settings, reader).run(stop))
    try:
        yield reader
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


def _uuid(number: int, index: int) -> str:
    return h100s(GPUS, f"{number:x}").gpus[index].uuid
