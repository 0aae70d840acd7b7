"""From a submission to its decision, and how many of them a hub takes in a second: part `submitting`.

    one after the other           apply called -> decided, stored -> a client's watch shows where it goes
    64 in flight, 1,000 of them   first apply called -> every assignment has arrived at its member

The members are held by `fleet.py`, each with 32 free GPUs that never change; submissions come from this process.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from arbora.client import HubClient
from arbora.v1 import member_pb2, workload_pb2
from bench import proc
from bench.herd import Herd, herd
from bench.jobs import assigned, clients_of, submit, submit_all
from bench.processes import HubProcess, hub, scratch
from bench.report import Report, quantile
from bench.watching import Seen, schedulable, seen_members, seen_workloads

FLEETS = {100: 15.0, 1000: 25.0}
"""Members -> target in milliseconds."""
RUNS = 200
UNMEASURED = 10
ROUNDS = 3
PER_ROUND = 1000
IN_FLIGHT = 64
CHANNELS = 4
PER_SECOND = 500.0
WAIT_SECONDS = 60.0


async def run(report: Report) -> None:
    """Measure both, each fleet on a hub of its own."""
    for members, target in FLEETS.items():
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(scratch())
            one, client, load = await _fleet(report, stack, folder, members)
            await _latency(report, client, members, target)
            if members == max(FLEETS):
                await _throughput(report, one, load, members)


async def _fleet(
    report: Report, stack: AsyncExitStack, folder: Path, members: int
) -> tuple[HubProcess, HubClient, Herd]:
    """A hub whose members are all online and whose GPUs are known."""
    one = await stack.enter_async_context(hub(folder))
    client = await stack.enter_async_context(one.client())
    load = await stack.enter_async_context(herd(folder))
    report.say(f"submitting: {members} members join")
    await load.join(client, one.join_address, members, used=0)
    async with seen_members(client) as seen:
        await seen.until(lambda: _schedulable(seen) == members, WAIT_SECONDS)
    return one, client, load


def _schedulable(members: Seen[member_pb2.Member]) -> int:
    return sum(schedulable(each) for each in members.now.values())


async def _latency(report: Report, client: HubClient, members: int, target: float) -> None:
    samples: list[float] = []
    async with seen_workloads(client) as workloads:
        for number in range(-UNMEASURED, RUNS):
            took = await _one(client, workloads, f"one-{number + UNMEASURED}")
            if number >= 0:
                samples.append(took)
    how = (
        "apply of an 8-GPU Job called -> its assignment seen in a client's watch; one after the other, none is "
        f"removed; {members} members with 4 free blocks of 8 each"
    )
    report.quantile(f"submit.{members}_members", samples, 0.5, "ms", how)
    report.quantile(f"submit.{members}_members", samples, 0.99, "ms", how, at_most=target)


async def _one(client: HubClient, workloads: Seen[workload_pb2.Workload], name: str) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    await submit(client, name)
    ended = await workloads.until(lambda: assigned(workloads.now.get(name)), WAIT_SECONDS)
    return (ended - begun) * 1000


async def _throughput(report: Report, one: HubProcess, load: Herd, members: int) -> None:
    """Rounds of submissions as fast as the hub takes them, until the last assignment is at its member."""
    rates: list[float] = []
    hub_cpu = fleet_cpu = seconds = 0.0
    async with clients_of(one, CHANNELS) as clients:
        for number in range(ROUNDS):
            before, used = await load.look(), proc.cpu_seconds(one.pid)
            begun = time.perf_counter()
            names = [f"many-{number}-{each}" for each in range(PER_ROUND)]
            await submit_all(clients, names, IN_FLIGHT)
            after = await load.assigned(before.assigned + PER_ROUND, WAIT_SECONDS)
            took = time.perf_counter() - begun
            rates.append(PER_ROUND / took)
            seconds += took
            hub_cpu += proc.cpu_seconds(one.pid) - used
            fleet_cpu += after.cpu_seconds - before.cpu_seconds
    each_round = ", ".join(f"{each:.0f}" for each in sorted(rates))
    how = (
        f"median of {ROUNDS} rounds of {PER_ROUND} 8-GPU Jobs over {CHANNELS} connections, {IN_FLIGHT} in "
        f"flight, first apply called -> all assignments have arrived at their members (counted there); "
        f"{members} members; each is stored with fsync and audited; rounds {each_round}; "
        f"hub {hub_cpu / seconds:.2f} cores, members {fleet_cpu / seconds:.2f}"
    )
    report.figure("submit.rate", quantile(rates, 0.5), "1/s", how, at_least=PER_SECOND)
