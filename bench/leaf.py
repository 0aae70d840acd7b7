"""A real agent in this process on a simulated cluster, whose inside can be looked at: one clock for both ends.

Must not measure: who starts it does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from arbora.client import HubClient
from arbora.clock import LoopClock
from arbora.errors import DeadlineExceeded
from arbora.manifests.objects import ObjectRef
from arbora.secret import Secret
from arbora.session.credential import CredentialFile
from arbora_agent.app import Agent, AgentHooks
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.settings import AgentSettings
from bench.processes import HubProcess

COALESCE_SECONDS = 0.05
"""The agent's default."""
ALLOWED = "default/default"
"""The service account whose tokens it gives out."""


@asynccontextmanager
async def leaf(
    folder: Path,
    one: HubProcess,
    client: HubClient,
    name: str,
    fleet: str,
    *,
    coalesce_seconds: float = COALESCE_SECONDS,
) -> AsyncIterator[Simulation]:
    """An agent of the hub `one` for the length of the block; it begins to join with it."""
    token = (await client.join_tokens.create(name)).token
    settings = AgentSettings(
        folder / name,
        hub=one.join_address,
        join_token=Secret(token),
        name=name,
        allow_tokens=(ALLOWED,),
        coalesce_seconds=coalesce_seconds,
    )
    clock = LoopClock()
    # The name makes the cluster's uid, and one cluster is one member of a tree.
    simulation = Simulation(fleet, name=str(folder / name), clock=clock)
    cluster, stop = SimulatedCluster(simulation), asyncio.Event()
    store = CredentialFile(settings.data_dir)
    running = asyncio.create_task(Agent(settings, cluster, store, clock, AgentHooks()).run(stop))
    try:
        yield simulation
    finally:
        stop.set()
        await running
        await cluster.close()


def created(simulation: Simulation, ref: ObjectRef, seconds: float) -> asyncio.Future[float]:
    """When an object appears in the cluster, by `time.perf_counter`. Raises DeadlineExceeded."""
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[float] = loop.create_future()

    def looked(_keys: object) -> None:
        if not seen.done() and simulation.read(ref) is not None:
            seen.set_result(time.perf_counter())

    def late() -> None:
        if not seen.done():
            seen.set_exception(DeadlineExceeded(f"{ref} was not created in {seconds:g} s"))

    end, timer = simulation.watch(looked), loop.call_later(seconds, late)

    def over(_: object) -> None:
        end()
        timer.cancel()

    seen.add_done_callback(over)
    return seen
