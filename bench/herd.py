"""The load generator as seen by a topic: starts `fleet.py` in a process of its own and tells it what to do."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from arbora.client import HubClient
from arbora.errors import DeadlineExceeded, Unavailable
from bench.machine import ROOT
from bench.processes import STOP_SECONDS

JOIN_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Look:
    """How the fleet is doing."""

    enrolled: int
    connected: int
    assigned: int
    """Assignments that have arrived since its start."""
    cpu_seconds: float


class Herd:
    """A running load generator."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    async def join(
        self, client: HubClient, join_address: str, members: int, prefix: str = "m", used: int = 3
    ) -> Look:
        """Enroll `members` and return when all have a session. Raises Unavailable, DeadlineExceeded.

        used: GPUs that are taken of the eight of each of a member's four nodes.
        """
        made = await client.join_tokens.create(uses=members, lifetime=timedelta(hours=1))
        command = {"do": "join", "hub": join_address, "token": made.token, "members": members, "prefix": prefix}
        return await self._tell({**command, "used": used}, JOIN_SECONDS)

    async def assigned(self, assignments: int, seconds: float) -> Look:
        """Return when so many assignments have arrived since its start. Raises Unavailable, DeadlineExceeded."""
        return await self._tell({"do": "assigned", "assigned": assignments}, seconds)

    async def look(self) -> Look:
        """Ask how it is doing."""
        return await self._tell({"do": "look"}, 10.0)

    async def _tell(self, command: dict[str, object], seconds: float) -> Look:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the load generator did not {command['do']} in {seconds:g} s") from error
        if not line:
            raise Unavailable(f"the load generator ended:\n{self._log.read_text(errors='replace')[-800:]}")
        return Look(**json.loads(line))


@asynccontextmanager
async def herd(folder: Path) -> AsyncIterator[Herd]:
    """A load generator without members, until the block ends."""
    file = folder / "fleet.log"
    with file.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.fleet"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
    try:
        yield Herd(process, file)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
