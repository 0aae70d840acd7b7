"""More jobs than there is room for, all at once: part `bursting`.

    500 Jobs of eight GPUs, 400 free blocks of eight -> 400 placed, 100 pending with a reason, nothing twice

Once with members whose GPUs never change in the hub's eyes, so that its reservations alone must hold; then with
real agents whose pods take the GPUs while the burst goes on. What was placed is read off a client's watch.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from arbora.client import HubClient
from arbora.v1 import member_pb2, workload_pb2
from bench.herd import herd
from bench.jobs import GPUS, assigned, clients_of, submit_all, waiting
from bench.processes import HubProcess, agent, hub, scratch
from bench.report import Report
from bench.watching import Seen, gpu_rows, schedulable, seen_members, seen_workloads

JOBS = 500
BLOCKS = 400
MEMBERS = 100
AGENTS = 4
FLEET = f"{BLOCKS // AGENTS}x{GPUS}xH100"
IN_FLIGHT = 64
CHANNELS = 4
WAIT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a burst."""

    placed: int
    pending: int
    explained: int
    """Of these, with a reason."""
    overcommitted: int
    """Jobs beyond the blocks of their member."""


async def run(report: Report) -> None:
    """Measure both."""
    await _on_still_members(report)
    await _on_agents(report)


async def _on_still_members(report: Report) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        load = await stack.enter_async_context(herd(folder))
        report.say(f"bursting: {MEMBERS} members join")
        await load.join(client, one.join_address, MEMBERS, used=0)
        members = await stack.enter_async_context(seen_members(client))
        await _blocks_are_free(members, MEMBERS)
        workloads = await stack.enter_async_context(seen_workloads(client))
        seconds = await _burst(one, workloads)
        outcome = _outcome(workloads, BLOCKS // MEMBERS)
        arrived = (await load.assigned(outcome.placed, WAIT_SECONDS)).assigned
    how = (
        f"{MEMBERS} members with {BLOCKS // MEMBERS} free blocks of {GPUS} each that never report a change; "
        f"{arrived} assignments arrived"
    )
    _tell(report, "burst", outcome, how, seconds)


async def _on_agents(report: Report) -> None:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        report.say(f"bursting: {AGENTS} agents start")
        for number in range(AGENTS):
            await _agent(stack, folder, one, client, f"sim-{number}")
        members = await stack.enter_async_context(seen_members(client))
        await _blocks_are_free(members, AGENTS)
        workloads = await stack.enter_async_context(seen_workloads(client))
        seconds = await _burst(one, workloads)
        at_once, began = _outcome(workloads, BLOCKS // AGENTS), time.perf_counter()
        full = await members.until(lambda: _used(members) == BLOCKS * GPUS, WAIT_SECONDS)
        outcome = _outcome(workloads, BLOCKS // AGENTS)
        stuck = sum(row.pending for row in gpu_rows(members.now.values()))
    how = (
        f"{AGENTS} real agents on simulated {FLEET}, whose pods take their GPUs meanwhile; {at_once.placed} "
        f"had a place when the last was decided; all {BLOCKS * GPUS:,} GPUs in use {full - began:.1f} s "
        f"after the burst, {stuck} asked for by pods that wait"
    )
    _tell(report, "burst.agents", outcome, how, seconds)


async def _agent(stack: AsyncExitStack, folder: Path, one: HubProcess, client: HubClient, name: str) -> None:
    token = (await client.join_tokens.create(name)).token
    process = agent(folder, name, one.join_address, token, ("--simulate", FLEET))
    stack.push_async_callback(process.stop)
    await process.start()


async def _blocks_are_free(members: Seen[member_pb2.Member], count: int) -> None:
    """All have come, and the hub knows of exactly as many free blocks as the burst counts on."""

    def ready() -> bool:
        free = sum(row.histogram[GPUS] for row in gpu_rows(members.now.values()))
        return sum(map(schedulable, members.now.values())) == count and free == BLOCKS

    await members.until(ready, WAIT_SECONDS)


def _used(members: Seen[member_pb2.Member]) -> int:
    return sum(row.used for row in gpu_rows(members.now.values()))


async def _burst(one: HubProcess, workloads: Seen[workload_pb2.Workload]) -> float:
    """Submit all of them; seconds until each has a place or waits."""
    async with clients_of(one, CHANNELS) as clients:
        begun = time.perf_counter()
        await submit_all(clients, [f"job-{number}" for number in range(JOBS)], IN_FLIGHT)

    def all_decided() -> bool:
        now = workloads.now.values()
        return len(now) == JOBS and all(assigned(each) or waiting(each) for each in now)

    return await workloads.until(all_decided, WAIT_SECONDS) - begun


def _outcome(workloads: Seen[workload_pb2.Workload], room: int) -> Outcome:
    """What the watch shows now. room: blocks of each member."""
    now = workloads.now.values()
    pending = [each for each in now if waiting(each)]
    on = Counter(part.path for each in now for part in each.assignments if not part.withdrawn)
    return Outcome(
        placed=sum(map(assigned, now)),
        pending=len(pending),
        explained=sum(bool(each.message) for each in pending),
        overcommitted=sum(max(0, count - room) for count in on.values()),
    )


def _tell(report: Report, id: str, outcome: Outcome, conditions: str, seconds: float) -> None:
    how = (
        f"{JOBS} Jobs of one pod with {GPUS} GPUs, {IN_FLIGHT} in flight, onto {BLOCKS} free blocks; "
        f"all decided after {seconds:.2f} s; {conditions}"
    )
    report.figure(f"{id}.placed", outcome.placed, "jobs", how, exactly=BLOCKS)
    how = "without a place, by the watch"
    report.figure(f"{id}.pending", outcome.pending, "jobs", how, exactly=JOBS - BLOCKS)
    how = "of those that wait: the watch shows a reason"
    report.figure(f"{id}.pending_explained", outcome.explained, "jobs", how, exactly=JOBS - BLOCKS)
    how = "jobs on a member beyond the blocks that it has"
    report.figure(f"{id}.overcommitted", outcome.overcommitted, "jobs", how, exactly=0)
