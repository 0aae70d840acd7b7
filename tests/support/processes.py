"""Real hubs and agents as processes of their own, to be killed, frozen and thawed by their pid."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from arbora.client import HubClient
from arbora.context import ADMIN_FILE, Context, find_context
from arbora.errors import ArboraError
from tests.support.eventually import eventually

START_SECONDS = 15.0
END_SECONDS = 10.0
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to outgoing connections: one could be taken while a hub is down."""
TRIES = 100


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now, all different."""
    chance = random.SystemRandom()
    found: list[int] = []
    with ExitStack() as held:
        for _ in range(TRIES):
            one = held.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", chance.choice(PORTS)))
                found.append(int(one.getsockname()[1]))
            if len(found) == count:
                return found
    raise AssertionError(f"no {count} free ports in {PORTS}")


@dataclass
class Daemon:
    """One `arbora ...` process that can be started again and again with the same arguments."""

    arguments: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; returns at once."""
        assert not self.running
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "arbora", *self.arguments),
                stdout=descriptor,
                stderr=descriptor,
                env={**os.environ, "ARBORA_LOG_LEVEL": "warning", **self.environment},
            )
        finally:
            os.close(descriptor)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process, if it still runs."""
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)

    async def ended(self, seconds: float = END_SECONDS) -> int:
        """Wait for its end; its exit code."""
        assert self.process is not None
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    async def runs_for(self, seconds: float) -> None:
        """Let it run for so long, which it must survive: for faults that come at a random moment."""
        with suppress(TimeoutError):
            code = await self.ended(seconds)
            raise AssertionError(f"ended with {code}: {self.said()[-2000:]}")

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            await self.ended()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process is not None and self.process.returncode is None

    def said(self) -> str:
        """Everything that it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class HubProcess(Daemon):
    """`arbora hub serve` on fixed ports, so that its children find it again after a restart."""

    def __init__(self, folder: Path, data_dir: Path | None = None, *, join_address: str = "") -> None:
        """folder: where its log goes, and its data by default. join_address: default is a free port."""
        self.data_dir = data_dir or folder / "hub"
        self.client_address, join, session = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.join_address = join_address or join
        arguments = ["hub", "serve", "--data-dir", str(self.data_dir), "--client-address", self.client_address]
        arguments += ["--join-address", self.join_address, "--session-address", session]
        super().__init__(tuple(arguments), folder / "hub.log")

    def context(self) -> Context:
        """The admin's."""
        return find_context(self.data_dir / ADMIN_FILE)[1]

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[HubClient]:
        """A client, as soon as the hub answers. It lasts over restarts of the hub."""
        path = self.data_dir / ADMIN_FILE
        await eventually(lambda: path.exists() or not self.running, "the admin's context", START_SECONDS)
        assert self.running, self.said()[-2000:]
        async with HubClient.from_context(await asyncio.to_thread(self.context)) as client:
            await self.until_answers(client)
            yield client

    async def until_answers(self, client: HubClient) -> None:
        """Wait until the hub answers calls."""

        async def answers() -> bool:
            assert self.running, self.said()[-2000:]
            return await is_up(client)

        await eventually(answers, "the hub answers", START_SECONDS)


class AgentProcess(Daemon):
    """`arbora agent run` on a simulated cluster."""

    def __init__(
        self, folder: Path, name: str, join_address: str, token: str, *, fleet: str = "1x8xH100", level: str = ""
    ) -> None:
        """folder: where its log and data go. level: what it logs, by default warnings."""
        self.data_dir = folder / name
        arguments = ("agent", "run", "--name", name, "--data-dir", str(self.data_dir), "--simulate", fleet)
        # not on the command line, where every process of this machine could read it
        environment = {"ARBORA_JOIN_TOKEN": token}
        if level:
            environment["ARBORA_LOG_LEVEL"] = level
        super().__init__((*arguments, "--hub", join_address), folder / f"{name}.log", environment)


async def is_up(client: HubClient) -> bool:
    """Whether the hub answers now."""
    try:
        await client.info()
    except ArboraError:
        return False
    return True


@asynccontextmanager
async def processes() -> AsyncIterator[list[Daemon]]:
    """A list to put started daemons in; whatever still runs at the end is killed, by its pid, frozen or not."""
    daemons: list[Daemon] = []
    try:
        yield daemons
    finally:
        for daemon in daemons:
            daemon.signal(signal.SIGKILL)
        for daemon in daemons:
            await daemon.kill()
