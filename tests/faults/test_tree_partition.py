"""A real partition: root and middle hub in network namespaces of their own, and the cable between them pulled.

The test speaks to both through a relay inside each namespace, over a socket that it made outside. Needs root and
`ip netns`; elsewhere it is skipped.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from arbora.context import Context
from tests.support.eventually import eventually
from tests.support.hub import job
from tests.support.placing import EVERYWHERE, ONE
from tests.support.processes import AgentProcess, Daemon, HubProcess, processes
from tests.support.tree import child_hub, member_of, parts, until_known

pytestmark = pytest.mark.faults

GPUS = 16
ROOT_IP, MIDDLE_IP = "192.0.2.1", "192.0.2.2"
RELAY = """
import asyncio, socket, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()

async def serve(reader, writer):
    try:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

async def main():
    server = await asyncio.start_server(serve, sock=socket.socket(fileno=int(sys.argv[1])))
    await server.serve_forever()

asyncio.run(main())
"""


async def ip(*words: str) -> bool:
    """Run `ip ...`; whether it succeeded."""
    try:
        process = await asyncio.create_subprocess_exec(
            "ip", *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
    except FileNotFoundError:
        return False
    return await process.wait() == 0


async def must(*words: str) -> None:
    assert await ip(*words), f"ip {' '.join(words)} failed"


@asynccontextmanager
async def two_namespaces() -> AsyncIterator[tuple[str, str, str]]:
    """(namespace of the root, of the middle, the root's end of the cable between them)."""
    mark = secrets.token_hex(3)
    ours, theirs, near, far = f"arb-r-{mark}", f"arb-m-{mark}", f"r{mark}", f"m{mark}"
    if os.geteuid() != 0 or not await ip("netns", "add", ours):
        pytest.skip("network namespaces need root and `ip netns`")
    try:
        await must("netns", "add", theirs)
        await must("-n", ours, "link", "add", near, "type", "veth", "peer", "name", far, "netns", theirs)
        for space, end, address in ((ours, near, ROOT_IP), (theirs, far, MIDDLE_IP)):
            await must("-n", space, "address", "add", f"{address}/24", "dev", end)
            await must("-n", space, "link", "set", end, "up")
            await must("-n", space, "link", "set", "lo", "up")
        yield ours, theirs, near
    finally:
        await ip("netns", "del", ours)
        await ip("netns", "del", theirs)


class _Inside(Daemon):
    """A daemon in a network namespace. `ip netns exec` becomes it, so its pid is that of the daemon."""

    space = ""

    async def start(self) -> None:
        assert not self.running
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *("ip", "netns", "exec", self.space, sys.executable, "-m", "arbora", *self.arguments),
                stdout=log,
                stderr=log,
                env={**os.environ, "ARBORA_LOG_LEVEL": "warning", **self.environment},
            )


class InsideHub(_Inside, HubProcess):
    relay = ""

    def context(self) -> Context:
        return replace(super().context(), hub=self.relay)


class InsideAgent(_Inside, AgentProcess):
    pass


@asynccontextmanager
async def relayed(hub: InsideHub) -> AsyncIterator[None]:
    """The hub's client port can be reached from here while the block lasts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        hub.relay = f"127.0.0.1:{listener.getsockname()[1]}"
        port = hub.client_address.rpartition(":")[2]
        relay = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", hub.space, sys.executable, "-c", RELAY, str(listener.fileno()), port),
            pass_fds=(listener.fileno(),),
        )
        try:
            yield
        finally:
            relay.kill()
            await relay.wait()


@pytest.mark.timeout(60)
async def test_both_sides_of_a_partition_go_on_and_agree_again_after_it(tmp_path: Path) -> None:
    async with two_namespaces() as (ours, theirs, cable), processes() as started, AsyncExitStack() as stack:
        root = InsideHub(tmp_path, tmp_path / "root")
        root.space = ours
        join = f"{ROOT_IP}:7444"
        root.arguments = (
            *("hub", "serve", "--data-dir", str(root.data_dir), "--client-address", root.client_address),
            *("--join-address", f"{ROOT_IP}:7444", "--session-address", f"{ROOT_IP}:7445"),
        )
        started.append(root)
        await root.start()
        await stack.enter_async_context(relayed(root))
        at_root = await stack.enter_async_context(root.admin())
        middle = await child_hub(tmp_path, "middle", at_root, join, InsideHub)
        middle.space = theirs
        started.append(middle)
        await middle.start()
        await stack.enter_async_context(relayed(middle))
        at_middle = await stack.enter_async_context(middle.admin())
        for name, hub, client, address in (
            ("beside", root, at_root, join),
            ("below", middle, at_middle, middle.join_address),
        ):
            agent = await member_of(tmp_path, name, client, address, InsideAgent)
            agent.space = hub.space
            started.append(agent)
            await agent.start()
        await until_known(at_root, {"middle": (0, GPUS), "beside": (0, GPUS)})
        await at_root.workloads.apply("given", [job("given")], members=["/middle/below"])
        await until_known(at_root, {"middle": (1, GPUS - 1)})

        await must("-n", ours, "link", "set", cable, "down")
        await at_root.workloads.apply("late", [job("late")], members=["/middle/below"])
        await at_root.workloads.apply("near", [job("near")], members=["/beside"])
        await at_middle.workloads.apply("own", [job("own", 2)], selector=EVERYWHERE, placement=ONE)
        await until_known(at_middle, {"below": (3, GPUS - 3)})
        await until_known(at_root, {"beside": (1, GPUS - 1)})
        await must("-n", ours, "link", "set", cable, "up")

        await until_known(at_root, {"middle": (4, GPUS - 4)}, 40.0)

        async def agreed() -> bool:
            found = [await parts(at_root, name) for name in ("given", "late", "near")]
            return found == [{"/middle/below": 1}, {"/middle/below": 1}, {"/beside": 1}]

        await eventually(agreed, "the root knows where everything is", 20.0)
        assert len([one async for one in at_middle.workloads.list()]) == 3
        assert "Traceback" not in "".join(one.said() for one in started)
