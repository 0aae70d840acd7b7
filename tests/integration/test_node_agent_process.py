"""The process of a node agent: with no driver, with one, with wrong settings, until it is told to stop.

Its hub and its cluster's agent run in the test; NVIDIA's library is played (tests/support/nvml).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from arbora.v1 import member_pb2
from arbora_agent.nodes.parts import SIMULATED
from tests.support.eventually import eventually
from tests.support.hub import RunningAgent, RunningHub, running_agent, running_hub
from tests.support.nvml.build import SONAME, build, why_not
from tests.support.nvml.node import PlayedNode, h100
from tests.support.processes import Daemon, processes

MEMBER, NODE = "edge-7", "h100-0"
XID = 0x8
"""nvmlEventTypeXidCriticalError."""
STARTS = {
    "the module": ("arbora_agent.node_agent",),
    "the command": ("arbora", "agent", "run", "--mode", "node"),
}
"""Both ways to start it; the command becomes the module."""


class NodeProcess(Daemon):
    """One node agent."""

    async def start(self) -> None:
        """Start it; returns at once."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self.arguments),
                stdout=descriptor,
                stderr=descriptor,
                env={**os.environ, "ARBORA_LOG_LEVEL": "info", **self.environment},
            )
        finally:
            os.close(descriptor)

    async def until_says(self, words: str) -> None:
        """Wait until it has written this."""
        await eventually(lambda: words in self.said() or not self.running, f"it says {words!r}")
        assert words in self.said(), self.said()[-2000:]

    def command_line(self) -> str:
        """As everybody on its machine can read it."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/cmdline").read_text().replace("\0", " ")

    async def stopped(self) -> int:
        """Ask it to stop; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()


@dataclass
class World:
    """A hub, a member of it with one node, and processes for that node."""

    hub: RunningHub
    member: RunningAgent
    folder: Path
    started: list[Daemon]

    @property
    def mounted(self) -> Path:
        """What the kubelet mounts into the node agent's pod."""
        return self.member.agent.settings.data_dir / SIMULATED / NODE

    async def start(self, how: str = "the module", **environment: str) -> NodeProcess:
        """A node agent, as the kubelet would start it."""
        mounted = self.mounted
        await eventually((mounted / "token").exists, "the member listens for node agents")
        assert self.member.agent.nodes is not None
        settings = {
            "cluster_agent": f"127.0.0.1:{self.member.agent.nodes.server.port}",
            "token_file": str(mounted / "token"),
            "ca_file": str(mounted / "ca.crt"),
        }
        options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
        arguments = [json.dumps(settings)] if how == "the module" else options
        process = NodeProcess((*STARTS[how], *arguments), self.folder / "node.log", environment)
        self.started.append(process)
        await process.start()
        return process

    def token(self) -> str:
        """The node agent's."""
        return (self.mounted / "token").read_text()

    def row(self) -> member_pb2.SketchRow:
        """The member's GPUs as its hub counts them."""
        child = self.hub.hub.inventory.find(MEMBER)
        rows = [row for sketch in child.sketches.values() for row in sketch.rows] if child is not None else []
        return rows[0] if rows else member_pb2.SketchRow()

    async def until_told(self, reason: str, subject: str) -> str:
        """Wait until the hub has heard of it; the words."""

        async def told() -> str:
            events = await self.hub.events(f"member/{MEMBER}/{subject}")
            return next((each.message for each in events if each.reason == reason), "")

        return await eventually(told, f"{reason} of {subject}")


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with (
        running_hub(folder / "hub") as hub,
        running_agent(hub, folder, MEMBER, "1x8xH100", node_address="127.0.0.1:0") as member,
        processes() as started,
    ):
        yield World(hub, member, folder, started)


@pytest.fixture
def no_driver(tmp_path: Path) -> dict[str, str]:
    """An environment in which NVIDIA's library can't be loaded, even on a machine that has it."""
    folder = tmp_path / "no-driver"
    folder.mkdir()
    (folder / SONAME).write_text("no library")
    return {"LD_LIBRARY_PATH": str(folder)}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the played library."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("nvml")
    build(folder)
    return folder


@pytest.mark.parametrize("how", STARTS)
async def test_without_a_driver_it_says_so_and_goes_on(
    tmp_path: Path, no_driver: dict[str, str], how: str
) -> None:
    async with world(tmp_path) as here:
        node = await here.start(how, **no_driver)
        await node.until_says("NVIDIA's driver can't be reached: NVML Shared Library Not Found")
        assert "The container needs the NVIDIA runtime, such as runtimeClassName: nvidia." in node.said()
        await node.until_says(f"event=connected node={NODE}")
        words = await here.until_told("GpusUnread", f"gpu/{NODE}")
        assert words.startswith(f"The GPUs of node {NODE}: NVIDIA's driver can't be reached")
        assert here.row().free == 8  # what nobody has looked at is not called broken
        assert node.running
        assert await node.stopped() == 0
        assert "Traceback" not in node.said()


async def test_what_the_driver_says_reaches_the_hub(tmp_path: Path, library: Path) -> None:
    played = PlayedNode(tmp_path / "played")
    for index in range(8):
        played.add(str(index), h100(f"GPU-{index}", index))
    async with world(tmp_path) as here:
        node = await here.start(LD_LIBRARY_PATH=str(library), FAKE_NVML=str(tmp_path / "played"))
        await eventually(lambda: here.row().observed == 8, "the hub sees 8 devices")
        assert (here.row().free, here.row().unhealthy) == (8, 0)
        played.event(3, XID, 79)
        await eventually(lambda: here.row().unhealthy == 1, "one is unhealthy")
        assert (here.row().free, here.row().total) == (7, 8)
        words = await here.until_told("GpuUnhealthy", f"gpu/{NODE}/GPU-3")
        assert "XID 79, the GPU has fallen off the bus" in words
        assert await node.stopped() == 0
        assert "Traceback" not in node.said()


async def test_a_driver_that_is_not_loaded_is_told_with_what_helps(tmp_path: Path, library: Path) -> None:
    played = PlayedNode(tmp_path / "played")
    played.add("0", h100("GPU-0"))
    played.set("node", gone=9)  # NVML_ERROR_DRIVER_NOT_LOADED
    async with world(tmp_path) as here:
        node = await here.start(LD_LIBRARY_PATH=str(library), FAKE_NVML=str(tmp_path / "played"))
        words = await here.until_told("GpusUnread", f"gpu/{NODE}")
        assert "`nvidia-smi` there must work" in words
        assert await node.stopped() == 0


async def test_the_command_becomes_the_small_process(tmp_path: Path, no_driver: dict[str, str]) -> None:
    async with world(tmp_path) as here:
        node = await here.start("the command", **no_driver)
        await node.until_says("event=connected")
        assert " -m arbora_agent.node_agent " in node.command_line()
        assert here.token() not in node.command_line()
        assert await node.stopped() == 0


async def test_it_waits_for_an_agent_that_is_not_there_yet_and_says_what_to_look_at(
    tmp_path: Path, no_driver: dict[str, str]
) -> None:
    settings = {"cluster_agent": "127.0.0.1:1", "token_file": str(tmp_path / "none"), "ca_file": "/none"}
    async with processes() as started:
        node = NodeProcess((*STARTS["the module"], json.dumps(settings)), tmp_path / "node.log", no_driver)
        started.append(node)
        await node.start()
        await node.until_says("event=cluster_agent_not_reached")
        assert f"{tmp_path / 'none'} can't be read: No such file or directory" in node.said()
        assert (
            "The cluster's agent writes the certificate when it starts; the kubelet mounts both." in node.said()
        )
        assert node.running
        assert await node.stopped() == 0


ADDRESS = '"cluster_agent": "127.0.0.1:1"'
WRONG: dict[str, tuple[tuple[str, ...], int, str, str]] = {
    "no settings": (STARTS["the module"], 2, "no settings of a node agent", "arbora agent run --mode node"),
    "no JSON": (
        (*STARTS["the module"], "cluster_agent"),
        2,
        "no settings of a node agent",
        "arbora agent run --mode node",
    ),
    "no object": ((*STARTS["the module"], "[1]"), 2, "no settings", "arbora agent run --mode node"),
    "no address": ((*STARTS["the module"], "{}"), 2, "cluster_agent", "arbora agent run --mode node"),
    "an unknown setting": (
        (*STARTS["the module"], f'{{{ADDRESS}, "intervall": 5}}'),
        2,
        "intervall",
        "arbora agent run --mode node",
    ),
    "no such recording": (
        (*STARTS["the module"], f'{{{ADDRESS}, "replay": "nosuch"}}'),
        4,
        "the recording nosuch",
        "h100x8",
    ),
    "a command without an address": (
        STARTS["the command"],
        2,
        "the address of its cluster's agent",
        "--cluster-agent",
    ),
    "a command with no such recording": (
        (*STARTS["the command"], "--cluster-agent=127.0.0.1:1", "--replay=nosuch"),
        4,
        "the recording nosuch",
        "h100x8",
    ),
    "a command with an interval of an hour": (
        (*STARTS["the command"], "--cluster-agent=127.0.0.1:1", "--interval=3600"),
        2,
        "--interval",
        "--help",
    ),
}
"""What is wrong, the exit code, words of the error and of the hint."""


@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_settings_end_it_at_once_with_an_error_that_says_what_to_do(
    tmp_path: Path, wrong: str
) -> None:
    arguments, code, words, hint = WRONG[wrong]
    async with processes() as started:
        node = NodeProcess(arguments, tmp_path / "node.log")
        started.append(node)
        await node.start()
        assert await node.ended() == code
    lines = node.said().splitlines()
    assert len(lines) == 2, node.said()
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert lines[1].startswith("hint: ")
    assert hint in lines[1]


async def test_an_address_for_metrics_that_is_taken_ends_it_too(
    tmp_path: Path, no_driver: dict[str, str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = json.dumps({"cluster_agent": "127.0.0.1:1", "metrics_address": address})
        async with processes() as started:
            node = NodeProcess((*STARTS["the module"], settings), tmp_path / "node.log", no_driver)
            started.append(node)
            await node.start()
            assert await node.ended() == 5
    assert node.said().startswith(f"error: can't serve metrics on {address}"), node.said()
