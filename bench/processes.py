"""The processes under measurement: a hub and agents, started as an operator starts them.

    async with hub(folder) as one:  ...  await one.kill(); await one.start()

Each has fixed loopback ports, so that a hub that is started again comes back at the same address. Every
process is ended by its own pid when its block ends. Must not measure: `proc.py` reads what the kernel knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from arbora.client import HubClient
from arbora.context import ADMIN_FILE, find_context
from arbora.errors import DeadlineExceeded, Unavailable
from bench.machine import ROOT

START_SECONDS = 30.0
STOP_SECONDS = 15.0


class Running:
    """One process of ours, with its log in a file."""

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
        module: str = "arbora",
    ) -> None:
        """arguments: of the Python program `module`. environ: further variables."""
        self._arguments = ("-m", module, *arguments)
        self._log = log
        self._environ = {**os.environ, "ARBORA_LOG_LEVEL": "warning", **(environ or {})}
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it; returns at once."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=ROOT, env=self._environ,
            )  # fmt: skip

    async def kill(self) -> None:
        """SIGKILL, as a crash; returns when it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL if that takes too long. Does nothing if it does not run."""
        await self._end(signal.SIGTERM)

    def check(self) -> None:
        """Raises Unavailable with the end of its log if it has ended by itself."""
        if self._process is not None and self._process.returncode is not None:
            tail = self._log.read_text(errors="replace")[-800:]
            raise Unavailable(f"{' '.join(self._arguments[1:3])} ended with {self._process.returncode}:\n{tail}")

    async def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(number)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class HubProcess(Running):
    """`arbora hub serve` on loopback, with a store of its own (SQLite, synchronous=FULL)."""

    def __init__(
        self,
        folder: Path,
        name: str = "hub",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """name: of its folder and log. arguments: further ones, such as the parent. environ: as in Running."""
        self.name = name
        self.data_dir = folder / name
        self.client_port, self.join_port, self.session_port = free_ports(3)
        super().__init__(
            (
                *("hub", "serve", "--data-dir", str(self.data_dir)),
                *("--client-address", f"127.0.0.1:{self.client_port}"),
                *("--join-address", self.join_address),
                *("--session-address", f"127.0.0.1:{self.session_port}"),
                *arguments,
            ),
            folder / f"{name}.log",
            environ,
        )

    @property
    def join_address(self) -> str:
        """host:port at which children enroll."""
        return f"127.0.0.1:{self.join_port}"

    async def answers(self) -> None:
        """Returns when the hub answers a client. Raises Unavailable, DeadlineExceeded."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._answers():
                    self.check()
                    await asyncio.sleep(0.02)
        except TimeoutError as error:
            raise DeadlineExceeded(f"the hub {self.name} did not answer in {START_SECONDS:g} s") from error

    async def _answers(self) -> bool:
        if not (self.data_dir / ADMIN_FILE).exists():
            return False
        with contextlib.suppress(OSError):
            _reader, writer = await asyncio.open_connection("127.0.0.1", self.client_port)
            writer.transport.abort()
            return True
        return False

    def client(self) -> HubClient:
        """A client with the admin's rights; close it."""
        return HubClient.from_context(find_context(self.data_dir / ADMIN_FILE)[1])


@asynccontextmanager
async def hub(folder: Path) -> AsyncIterator[HubProcess]:
    """A hub that answers, until the block ends."""
    one = HubProcess(folder)
    try:
        await one.start()
        await one.answers()
        yield one
    finally:
        await one.stop()


def agent(folder: Path, name: str, join_address: str, token: str, where: Sequence[str]) -> Running:
    """An agent that is not started yet. where: `--simulate FLEET` or `--kubeconfig FILE`."""
    data = folder / f"agent-{name}"
    data.mkdir(mode=0o700)
    arguments = ("agent", "run", "--hub", join_address, "--name", name, "--data-dir", str(data), *where)
    return Running(arguments, folder / f"agent-{name}.log", {"ARBORA_JOIN_TOKEN": token})


def pod_agent(folder: Path, name: str, hub: HubProcess, token: str, server: str) -> Running:
    """An agent with the access of a pod, not started yet. folder: holds what a kubelet mounts. server: a URL."""
    data = folder / "data"
    data.mkdir(mode=0o700)
    where = urlsplit(server)
    environ = {
        "ARBORA_JOIN_TOKEN": token,
        "KUBERNETES_SERVICE_HOST": str(where.hostname),
        "KUBERNETES_SERVICE_PORT": str(where.port),
    }
    arguments = (str(folder), str(data), hub.join_address, name)
    return Running(arguments, folder / "agent.log", environ, "bench.pod_agent")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything that the bench writes, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="arbora-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free now; held open together so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
