"""From the root to a member far below, and back: part `depth`.

    apply at the root -> every hub stores and decides -> the agent -> the object is in the simulated cluster
    a node's GPUs change -> the agent -> every hub adds up -> a client's watch of the root shows it
    a token asked at the root -> sealed in the member -> opened here

Each hub is a process with its defaults and a store of its own; the agent runs in this one, so there is one clock.
Depth 1 is an agent directly below the root, depth 5 one below a chain of five hubs.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from arbora.client.waiting import reached
from arbora.manifests.objects import ref_of
from arbora.v1 import member_pb2
from arbora.workloads.model import State
from arbora_agent.cluster.simulated import Simulation
from bench.jobs import job, submit
from bench.leaf import ALLOWED, COALESCE_SECONDS, created, leaf
from bench.processes import scratch
from bench.report import Report
from bench.tree_hubs import Node, chain
from bench.watching import Seen, gpu_rows, seen_members, seen_workloads

SUBMIT_P99 = {1: 20.0, 3: 50.0, 5: 80.0}
"""Depth -> target in milliseconds."""
DEEPEST = max(SUBMIT_P99)
CHANGE_P99, AT_ONCE_P99, TOKEN_P99 = 1500.0, 150.0, 150.0
RUNS = 100
UNMEASURED = 5
FLEET, GPUS_PER_NODE = "8x8xH100", 8
PAUSE_SECONDS = 0.5
MEMBER = "leaf"
WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Line:
    """A chain of hubs with an agent at its end."""

    hubs: list[Node]
    simulation: Simulation
    members: Seen[member_pb2.Member]
    """What a watch of the root shows."""
    top: str
    """The child of the root through which the agent is reached."""

    @property
    def depth(self) -> int:
        """Sessions between the root and the agent."""
        return len(self.hubs)

    @property
    def member(self) -> str:
        """The agent's path."""
        return f"{self.hubs[-1].path}/{MEMBER}"

    def unusable(self) -> int:
        """GPUs on cordoned nodes, as the root knows them; -1: nothing is known."""
        member = self.members.now.get(self.top)
        return sum(row.unusable for row in gpu_rows([member])) if member and member.sketches else -1


async def run(report: Report) -> None:
    """Measure all depths, then the deepest once more with no coalescing."""
    for depth, target in SUBMIT_P99.items():
        report.say(f"depth: {depth} hubs one below the other start")
        async with _line(depth) as line:
            await _submissions(report, line, target)
            if depth == DEEPEST:
                await _tokens(report, line)
                how = "hubs gather for 250 ms and the agent for 50 ms (defaults)"
                await _changes(report, line, "change.default", how, CHANGE_P99)
    async with _line(DEEPEST, ("--coalesce", "0"), 0.0) as line:
        await _changes(report, line, "change.at_once", "nothing is gathered anywhere", AT_ONCE_P99)


@asynccontextmanager
async def _line(
    depth: int, arguments: tuple[str, ...] = (), coalesce_seconds: float = COALESCE_SECONDS
) -> AsyncIterator[Line]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        hubs = await chain(stack, folder, depth, arguments)
        last = hubs[-1]
        simulation = await stack.enter_async_context(
            leaf(folder, last.process, last.client, MEMBER, FLEET, coalesce_seconds=coalesce_seconds)
        )
        members = await stack.enter_async_context(seen_members(hubs[0].client))
        top = hubs[1].path if depth > 1 else f"/{MEMBER}"
        line = Line(hubs, simulation, members, top)
        await members.until(lambda: line.unusable() == 0, WAIT_SECONDS)
        yield line


async def _submissions(report: Report, line: Line, target: float) -> None:
    report.say(f"depth: {RUNS} submissions at the root, {line.depth} below it")
    there: list[float] = []
    back: list[float] = []
    client = line.hubs[0].client
    async with seen_workloads(client) as workloads:
        for number in range(UNMEASURED + RUNS):
            name = f"job-{number}"
            exists = created(line.simulation, ref_of(job(name)), WAIT_SECONDS)
            begun = time.perf_counter()
            await submit(client, name)
            there.append((await exists - begun) * 1000)
            ended = await workloads.until(
                lambda: name in workloads.now and reached(workloads.now[name], State.APPLIED),  # noqa: B023
                WAIT_SECONDS,
            )
            back.append((ended - begun) * 1000)
            await client.workloads.delete(name)
            await workloads.until(lambda: name not in workloads.now, WAIT_SECONDS)  # noqa: B023
    chosen = f"{line.depth} hubs, each decides and stores with fsync, every process on the same cores"
    end = f"each withdrawn before the next; {chosen}"
    how = f"apply of an 8-GPU Job at the root called -> the Job is in the simulated cluster; {end}"
    report.quantile(f"submit.depth_{line.depth}", there[UNMEASURED:], 0.5, "ms", how)
    report.quantile(f"submit.depth_{line.depth}", there[UNMEASURED:], 0.99, "ms", how, at_most=target)
    how = f"the same -> Applied or beyond seen by a client's watch of the root; {end}"
    report.quantile(f"submit.status_back.depth_{line.depth}", back[UNMEASURED:], 0.5, "ms", how)
    report.quantile(f"submit.status_back.depth_{line.depth}", back[UNMEASURED:], 0.99, "ms", how)


async def _changes(report: Report, line: Line, id: str, gathered: str, target: float) -> None:
    report.say(f"depth: {RUNS} changes of GPUs seen at the root, {gathered}")
    samples: list[float] = []
    node = line.simulation.nodes[0].name
    chance = random.Random(1)
    await line.members.until(lambda: line.unusable() == 0, WAIT_SECONDS)
    for number in range(UNMEASURED + RUNS):
        wanted = GPUS_PER_NODE if number % 2 == 0 else 0
        # A change right after the one before would always find every hub in its pause.
        await asyncio.sleep(chance.random() * PAUSE_SECONDS)
        begun = time.perf_counter()
        line.simulation.cordon(node, bool(wanted))
        ended = await line.members.until(lambda: line.unusable() == wanted, WAIT_SECONDS)  # noqa: B023
        samples.append((ended - begun) * 1000)
    how = (
        f"a node with {GPUS_PER_NODE} GPUs is closed or opened in a cluster of depth {line.depth} -> a client's "
        f"watch of the root shows it in the sum of the hub below it; one after the other with a random pause up "
        f"to {PAUSE_SECONDS * 1000:.0f} ms; {gathered}"
    )
    report.quantile(id, samples[UNMEASURED:], 0.5, "ms", how)
    report.quantile(id, samples[UNMEASURED:], 0.99, "ms", how, at_most=target)


async def _tokens(report: Report, line: Line) -> None:
    report.say(f"depth: {RUNS} tokens asked at the root")
    namespace, _, account = ALLOWED.partition("/")
    samples: list[float] = []
    for _ in range(UNMEASURED + RUNS):
        begun = time.perf_counter()
        await line.hubs[0].client.tokens.create(line.member, namespace, account)
        samples.append((time.perf_counter() - begun) * 1000)
    how = (
        f"a token of {ALLOWED} in a member of depth {line.depth} asked at the root -> opened by the client; "
        "sealed in the member, audited by every hub; one after the other"
    )
    report.quantile(f"token.depth_{line.depth}", samples[UNMEASURED:], 0.5, "ms", how)
    report.quantile(f"token.depth_{line.depth}", samples[UNMEASURED:], 0.99, "ms", how, at_most=TOKEN_P99)
