"""What a member with 512 GPUs costs its hub: part `member` of the topic `gpus`.

    the hub is idle -> one such member -> three more -> memory per member

The members are held in this process, by the real dialing code; their records are what a cluster's agent passes on
of 64 nodes, with values that waver as under training. The first one also pays for what a hub makes once.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from arbora.capacity.gpus import GpuClass, NodeGpus
from arbora.capacity.sketch import sketch
from arbora.capacity.wire import sketch_to_wire
from arbora.client import HubClient
from arbora.gpus.wire import node_to_wire, values_to_wire
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.mirror.exchange import Exchange
from arbora.session import enroll
from arbora.session.link import Introduction, Link, LinkEvents
from arbora.v1 import gpu_pb2
from arbora.version import __version__
from arbora_agent.gpu.recorded.reader import RecordedReader
from arbora_agent.node_agent.watch import NodeWatch
from bench import proc
from bench.fleet import MemoryStore, status_record
from bench.gpu_recordings import steady
from bench.processes import HubProcess, hub, scratch
from bench.report import Report

NODES, GPUS = 64, 8
MORE = 3
STEPS = 12
STEP_SECONDS = 10.0
START_SECONDS = 10.0
SETTLE_SECONDS = 150.0
"""Two whole minutes, so that roll-ups of minutes have been made and written."""


async def run(report: Report) -> None:
    """Measure one hub with one, then with four such members."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(lambda: [task.cancel() for task in playing])
        playing: list[asyncio.Task[None]] = []
        await asyncio.sleep(START_SECONDS)
        base = proc.memory(one.pid)
        report.say(f"member: one with {NODES * GPUS} GPUs, {SETTLE_SECONDS:g} s")
        playing.append(tasks.create_task(_member(client, one, 0)))
        await _settled(client, 1)
        first = proc.memory(one.pid)
        report.say(f"member: {MORE} more, {SETTLE_SECONDS:g} s")
        playing += [tasks.create_task(_member(client, one, 1 + number)) for number in range(MORE)]
        cpu, begun = proc.cpu_seconds(one.pid), time.perf_counter()
        await _settled(client, 1 + MORE)
        cores = (proc.cpu_seconds(one.pid) - cpu) / (time.perf_counter() - begun)
        after = proc.memory(one.pid)
        how = (
            f"growth of the hub's VmRSS, {NODES} nodes with {GPUS} GPUs each that train, values of every node "
            f"each {STEP_SECONDS:g} s, {SETTLE_SECONDS:g} s after it came"
        )
        more = (after.rss - first.rss) * 1024 / 1e6 / MORE
        anonymous = (after.anonymous - first.anonymous) * 1024 / 1e6 / MORE
        report.figure(
            "member512.hub_memory",
            more,
            "MB",
            f"per member, by {MORE} that join a hub that has one; {how}; RssAnon {anonymous:.2f}",
            at_most=2,
        )
        report.figure(
            "member512.hub_memory.first",
            (first.rss - base.rss) * 1024 / 1e6,
            "MB",
            f"the first one, with everything that an idle hub has not needed before; {how}",
        )
        report.figure(
            "member512.hub_cpu",
            cores / (1 + MORE),
            "cores",
            f"per member, user + system time of the hub over {SETTLE_SECONDS:g} s, their joining included",
        )


async def _settled(client: HubClient, members: int) -> None:
    """Returns when the hub knows all devices, and some minutes have passed. Raises TimeoutError."""
    async with asyncio.timeout(60.0):
        while True:
            rows = await client.gpus.summarize(by="class")
            if sum(row.rollup.devices for row in rows) == members * NODES * GPUS:
                break
            await asyncio.sleep(0.5)
    await asyncio.sleep(SETTLE_SECONDS)


async def _member(client: HubClient, one: HubProcess, number: int) -> None:
    """One member that says what a cluster's agent with 64 node agents would, until cancelled."""
    name = f"gpus-{number}"
    token = join_token.parse((await client.join_tokens.create(name)).token)
    store, uid = MemoryStore(), secrets.token_hex(8)
    credential = await enroll.enroll(
        one.join_address, token, store, kind=Kind.AGENT, name=name, cluster_uid=uid, version=__version__
    )
    link = Link(
        credential,
        store,
        Exchange(secrets.randbits(62) + 1),
        Introduction(Kind.AGENT, instance_id=secrets.token_hex(8), cluster_uid=uid),
        LinkEvents(applied=lambda applied: None, state=lambda state: None),
        random.Random(number),
    )
    link.put("status", status_record(NODES))
    h100 = GpuClass("nvidia", "NVIDIA-H100-80GB-HBM3")
    rows = [NodeGpus(f"h100-{node}", h100, GPUS, GPUS, GPUS, True, 48_000, 400_000) for node in range(NODES)]
    for each, row in sketch(rows, {}).items():
        link.put(f"sketch/{each.key}", sketch_to_wire(each, row).SerializeToString(deterministic=True))
    scripts = []
    for node in range(NODES):
        facts, values = await asyncio.to_thread(_said, number * NODES + node)
        link.put(f"gpu/h100-{node}", facts)
        scripts.append(values)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(link.run())
        tasks.create_task(_play(link, scripts))


async def _play(link: Link, scripts: Sequence[Sequence[bytes]]) -> None:
    """Each node's values in turn, over and over; the nodes do not speak all at once."""
    pause = STEP_SECONDS / NODES
    step = 0
    while True:
        for node, script in enumerate(scripts):
            link.put(f"gpu-values/h100-{node}", script[step % len(script)])
            await asyncio.sleep(pause)
        step += 1


def _said(seed: int) -> tuple[bytes, list[bytes]]:
    """What a node agent says of eight GPUs that train: its facts, then its values, reading by reading."""
    now = 0.0
    watch = NodeWatch()
    reader = RecordedReader(steady(seed, GPUS, int(STEPS * STEP_SECONDS), prefix=f"{seed:x}"), clock=lambda: now)
    reader.open()
    watch.listed(reader.facts(), 0.0)
    watch.trouble("")
    values: list[bytes] = []
    said: gpu_pb2.NodeGpus | None = None
    for step in range(STEPS):
        now = step * STEP_SECONDS
        for one in reader.facts().gpus:
            watch.read(reader.read(one.uuid), now)
        if (node := watch.node(now)) is not None:
            said = node_to_wire(node)
        if (told := watch.values()) is not None:
            values.append(values_to_wire(*told).SerializeToString(deterministic=True))
    assert said is not None
    return said.SerializeToString(deterministic=True), values
