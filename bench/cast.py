"""Who plays in the demo: a hub in a process of its own, agents in this one, each behind a relay to cut."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arbora.clock import LoopClock
from arbora.context import Context, find_context
from arbora.errors import Unavailable
from arbora.identity import join_token
from arbora.identity.names import Kind
from arbora.secret import Secret
from arbora.session import enroll
from arbora.session.addresses import split
from arbora.version import __version__
from arbora_agent.app import Agent, AgentHooks, open_cluster
from arbora_agent.gpu.port import GpuReader
from arbora_agent.node_agent.app import NodeAgent
from arbora_agent.node_agent.settings import NodeSettings
from arbora_agent.nodes.parts import SIMULATED
from arbora_agent.settings import AgentSettings
from bench.proxy import Relay, relay

START_SECONDS = 20.0


@dataclass
class Member:
    """One agent and its cable."""

    name: str
    agent: Agent
    cable: Relay


@asynccontextmanager
async def hub_process(folder: Path) -> AsyncIterator[Context]:
    """`arbora hub serve` on free loopback ports; yields its admin's context. Ends it by its pid."""
    environment = {**os.environ, "ARBORA_LOG_LEVEL": "warning"}
    with (folder / "hub.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "arbora", "hub", "serve", "--data-dir", str(folder / "hub")),
            *("--client-address", "127.0.0.1:0", "--join-address", "127.0.0.1:0"),
            *("--session-address", "127.0.0.1:0"),
            stdout=log,
            stderr=log,
            env=environment,
        )
    try:
        yield await _admin_context(process, folder)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15.0)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _admin_context(process: asyncio.subprocess.Process, folder: Path) -> Context:
    """The context that the hub writes when its ports are open."""
    path = folder / "hub" / "admin.yaml"
    try:
        async with asyncio.timeout(START_SECONDS):
            while not path.exists():
                if process.returncode is not None:
                    raise Unavailable(
                        f"the hub ended with {process.returncode}: {(folder / 'hub.log').read_text()[-400:]}"
                    )
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise Unavailable(
            f"the hub did not start in {START_SECONDS:g} s", hint=f"See {folder / 'hub.log'}."
        ) from error
    return (await asyncio.to_thread(find_context, path))[1]


@asynccontextmanager
async def member(
    folder: Path, name: str, join_address: str, token: str, where: dict[str, Any]
) -> AsyncIterator[Member]:
    """An agent that has joined and runs, until the block ends.

    where: `simulate` with a fleet, or `kubeconfig` with a file.
    """
    settings = AgentSettings(
        data_dir=folder / name,
        hub=join_address,
        name=name,
        allow_tokens=("default/default",),
        node_address="127.0.0.1:0" if "simulate" in where else "",
        **where,
    )
    clock = LoopClock()
    cluster, store = open_cluster(settings, clock)
    stop = asyncio.Event()
    running: asyncio.Task[None] | None = None
    try:
        facts = await cluster.connect()
        credential = await enroll.enroll(
            join_address,
            join_token.parse(token),
            store,
            kind=Kind.AGENT,
            name=name,
            cluster_uid=facts.uid,
            version=__version__,
        )
        async with relay(*split(credential.session_address)) as cable:
            await store.save(replace(credential, session_address=cable.address))
            agent = Agent(replace(settings, join_token=Secret("")), cluster, store, clock, AgentHooks())
            running = asyncio.create_task(agent.run(stop), name=f"agent {name}")
            yield Member(name, agent, cable)
            stop.set()
            await asyncio.wait_for(running, 10.0)
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await cluster.close()


@asynccontextmanager
async def node_agent(one: Member, node: str, reader: GpuReader) -> AsyncIterator[None]:
    """The agent of a node of a simulated member, until the block ends."""
    nodes = one.agent.nodes
    assert nodes is not None
    mounted = one.agent.settings.data_dir / SIMULATED / node
    settings = NodeSettings(f"127.0.0.1:{nodes.server.port}", mounted / "token", mounted / "ca.crt")
    stop = asyncio.Event()
    running = asyncio.create_task(NodeAgent(settings, reader).run(stop), name=f"node agent {node}")
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(running, return_exceptions=True)
