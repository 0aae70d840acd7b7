"""A member with node agents for the topic `gpus`: the cluster's agent as a process, and what its nodes mount.

async with member(folder, hub, client, members, "1x8xH100") as one:
    process = one.node_agent(folder, "h100-0", ("--replay", "h100x8"))
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded
from arbora.v1 import member_pb2
from arbora_agent.nodes.parts import SIMULATED
from bench.processes import HubProcess, Running, agent, free_ports
from bench.watching import Seen, schedulable

NAME = "gpus"
PATH = f"/{NAME}"
WAIT_SECONDS = 30.0


class MemberWithNodes:
    """A running agent of a simulated cluster that listens for node agents."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._mounts = folder / f"agent-{NAME}" / SIMULATED

    @property
    def address(self) -> str:
        """Where node agents dial."""
        return f"127.0.0.1:{self.port}"

    async def mount(self, node: str) -> Path:
        """The folder with the token and the certificate of a node. Raises DeadlineExceeded."""
        folder = self._mounts / node
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not (folder / "token").exists():  # noqa: ASYNC110 - another process writes it
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the member wrote nothing for node {node}") from error
        return folder

    async def node_agent(
        self, folder: Path, node: str, how: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> Running:
        """The agent of one node, not started yet. how: further arguments."""
        mounted = await self.mount(node)
        arguments = (
            *("agent", "run", "--mode", "node", "--no-kernel-log", "--cluster-agent", self.address),
            *("--token-file", str(mounted / "token"), "--ca-file", str(mounted / "ca.crt"), *how),
        )
        return Running(arguments, folder / f"node-{node}.log", environ)


@asynccontextmanager
async def member(
    folder: Path, hub: HubProcess, client: HubClient, members: Seen[member_pb2.Member], fleet: str
) -> AsyncIterator[MemberWithNodes]:
    """One that is online, until the block ends. fleet: as of --simulate."""
    (port,) = free_ports(1)
    made = await client.join_tokens.create(NAME)
    how = ("--simulate", fleet, "--node-address", f"127.0.0.1:{port}")
    process = agent(folder, NAME, hub.join_address, made.token, how)
    try:
        await process.start()
        await members.until(lambda: schedulable(members.now.get(PATH)), WAIT_SECONDS)
        yield MemberWithNodes(folder, port)
    finally:
        await process.stop()
