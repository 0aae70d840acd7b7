"""How long it takes until a new member can be given work: part `joining` of the topic `foundation`.

Twice: from dialing, with the real agent running in this process (so the interpreter's start is left out), and
from the start of the agent's process. The hub is a process of its own; the end is always what a client's watch
sees at it. One clock: this process's.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

from arbora.client import HubClient
from arbora.clock import LoopClock
from arbora.secret import Secret
from arbora.v1 import member_pb2
from arbora_agent.app import Agent, AgentHooks, open_cluster
from arbora_agent.settings import AgentSettings
from bench.processes import HubProcess, agent, hub, scratch
from bench.report import Report
from bench.watching import Seen, schedulable, seen_members

FLEET = "4x8xH100"
RUNS_FROM_DIAL = 200
RUNS_FROM_START = 20
WAIT_SECONDS = 20.0


async def run(report: Report) -> None:
    """Measure both on one idle hub; a member is evicted before the next one joins."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        one = await stack.enter_async_context(hub(folder))
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        report.say(f"joining: {RUNS_FROM_DIAL} agents, one after the other")
        dial = [await _from_dial(folder, one, client, members, n) for n in range(RUNS_FROM_DIAL)]
        how = (
            f"real agent with simulated {FLEET}, identity written with fsync; its run() called -> Online and "
            "GPUs known in a client's watch; idle hub, a new member each time"
        )
        report.quantile("join.from_dial", dial, 0.5, "ms", how)
        report.quantile("join.from_dial", dial, 0.99, "ms", how, at_most=100)
        report.say(f"joining: {RUNS_FROM_START} agent processes, one after the other")
        start = [await _from_start(folder, one, client, members, n) for n in range(RUNS_FROM_START)]
        how = f"`arbora agent run --simulate {FLEET}` started -> Online and GPUs known in a client's watch"
        report.quantile("join.from_process_start", start, 0.5, "ms", how, at_most=1000)


async def _from_dial(
    folder: Path, one: HubProcess, client: HubClient, members: Seen[member_pb2.Member], number: int
) -> float:
    """Milliseconds of one run."""
    name = f"dial-{number}"
    token = (await client.join_tokens.create(name)).token
    settings = AgentSettings(
        data_dir=folder / name, hub=one.join_address, join_token=Secret(token), name=name, simulate=FLEET
    )
    cluster, store = open_cluster(settings, LoopClock())
    stop = asyncio.Event()
    begun = time.perf_counter()
    running = asyncio.create_task(Agent(settings, cluster, store, LoopClock(), AgentHooks()).run(stop))
    try:
        ended = await members.until(lambda: schedulable(members.now.get(f"/{name}")), WAIT_SECONDS)
    finally:
        stop.set()
        await running
        await cluster.close()
    await _evict(client, members, name)
    return (ended - begun) * 1000


async def _from_start(
    folder: Path, one: HubProcess, client: HubClient, members: Seen[member_pb2.Member], number: int
) -> float:
    """Milliseconds of one run."""
    name = f"start-{number}"
    token = (await client.join_tokens.create(name)).token
    process = agent(folder, name, one.join_address, token, ("--simulate", FLEET))
    begun = time.perf_counter()
    try:
        await process.start()
        ended = await members.until(lambda: schedulable(members.now.get(f"/{name}")), WAIT_SECONDS)
    finally:
        await process.stop()
    await _evict(client, members, name)
    return (ended - begun) * 1000


async def _evict(client: HubClient, members: Seen[member_pb2.Member], name: str) -> None:
    await client.members.evict(name)
    await members.until(lambda: f"/{name}" not in members.now, WAIT_SECONDS)
