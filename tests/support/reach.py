"""A member behind hubs, and clients of the root's gateway: what tests of ways into members are made of.

async with reach(folder, far.address, ("eu", "paris")) as it:     root, /eu, /eu/paris and /eu/paris/edge-7
    async with way(await it.token()) as (reader, writer):         the gateway has answered CONNECT with 200
    answer = await refusal(await it.token(), user="edge-8")       or with something else
"""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arbora.clock import LoopClock
from arbora.secret import Secret
from arbora.session.addresses import split
from arbora.v1 import enrollment_pb2
from arbora.v1 import tunnel_pb2 as pb
from arbora_agent.cluster.simulated import Simulation
from arbora_hub.inventory.liveness import Liveness
from tests.support.eventually import eventually
from tests.support.far import NAME, SMALL, ReachableCluster
from tests.support.hub import LOOPBACK, RunningAgent, RunningHub, running_agent, running_hub

MEMBER = "edge-7"
TARGET = f"{NAME}:443"
SECONDS = 10.0
GATEWAY = {"gateway_address": LOOPBACK}

Made = pb.CreateConnectTokenResponse
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Reach:
    """The hubs, from above, and the member."""

    hubs: list[RunningHub]
    agent: RunningAgent
    path: str

    @property
    def root(self) -> RunningHub:
        """The hub with the gateway."""
        return self.hubs[0]

    @property
    def owner(self) -> RunningHub:
        """The hub that the agent dials."""
        return self.hubs[-1]

    async def token(self, **wishes: Any) -> Made:
        """A token for the member, made by the root's admin."""
        return await self.root.admin.connect_tokens.create(self.path, **wishes)

    async def until_idle(self) -> None:
        """Wait until no hub has a tunnel open."""
        await eventually(lambda: not any(len(hub.hub.tunnels) for hub in self.hubs), "no tunnel is open")


@asynccontextmanager
async def reach(
    folder: Path,
    address: str,
    between: Sequence[str] = (),
    root: Mapping[str, Any] = {},
    ca_pem: bytes = b"",
    **agent: Any,
) -> AsyncIterator[Reach]:
    """address: of the member's API server; ca_pem: what verifies it. between: names of the hubs between the root
    and the agent. root: its settings. agent: those of the agent."""
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(running_hub(folder / "root", **{**GATEWAY, **root}))]
        for name in between:
            hubs.append(await stack.enter_async_context(hub_below(hubs[-1], folder, name)))
        one = await stack.enter_async_context(member(hubs[-1], folder, MEMBER, address, ca_pem, **agent))
        yield Reach(hubs, one, "/" + "/".join((*between, MEMBER)))


@asynccontextmanager
async def hub_below(parent: RunningHub, folder: Path, name: str) -> AsyncIterator[RunningHub]:
    """A hub that has joined `parent`, without a gateway of its own."""
    token = Secret(await parent.join_token(name, kind=enrollment_pb2.CHILD_KIND_HUB))
    above: dict[str, Any] = {"parent": parent.hub.join_address, "join_token": token}
    async with running_hub(folder / f"hub-{name}", **above) as hub:
        await eventually(lambda: hub.hub.uplink.connected, f"{name} online")
        await parent.until(name, Liveness.ONLINE)
        yield hub


@asynccontextmanager
async def member(
    hub: RunningHub, folder: Path, name: str, address: str, ca_pem: bytes = b"", **settings: Any
) -> AsyncIterator[RunningAgent]:
    """An agent that is online, whose API server is at `address`."""
    simulation = Simulation("1x8xH100", name=name, clock=LoopClock())
    cluster = ReachableCluster(simulation, address, ca_pem)
    async with running_agent(hub, folder, name, simulation=simulation, cluster=cluster, **settings) as agent:
        await agent.until_online()
        await hub.until_reported(name)
        yield agent


@dataclass(frozen=True)
class Answer:
    """What the gateway says to a request."""

    status: int
    reason: str
    """Of the status line: all that users of Go's clients see."""
    headers: dict[str, str]
    body: str = ""


class Refused(AssertionError):
    """There is no way where a test expected one."""


def basic(user: str, token: str) -> str:
    """The header of a client that shows a password."""
    return f"Proxy-Authorization: Basic {base64.b64encode(f'{user}:{token}'.encode()).decode()}\r\n"


def head(made: Made, *, user: str = "", token: str = "", target: str = TARGET) -> bytes:
    """What an honest client says, but for what is changed."""
    password = basic(user or made.user, token or made.token)
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{password}\r\n".encode()


def connect_head(password: str) -> bytes:
    """A request for a way. password: a header, or empty."""
    return f"CONNECT {TARGET} HTTP/1.1\r\nHost: {TARGET}\r\n{password}\r\n".encode()


def trusting(ca_pem: bytes) -> ssl.SSLContext:
    """For a client that trusts these and nobody else."""
    return ssl.create_default_context(cadata=ca_pem.decode())


@asynccontextmanager
async def dialled(made: Made, ca_pem: bytes = b"") -> AsyncIterator[Streams]:
    """A TLS connection to the gateway on which nothing is said yet. The kernel keeps little of what comes in."""
    near = socket.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    near.setblocking(False)
    host, port = split(made.gateway)
    await asyncio.get_running_loop().sock_connect(near, (host, port))
    reader, writer = await asyncio.open_connection(
        sock=near, ssl=trusting(ca_pem or made.ca_pem), server_hostname=host
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_of(reader: asyncio.StreamReader) -> Answer:
    """Read what the gateway answers; of a refusal also its body."""
    async with asyncio.timeout(SECONDS):
        said = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = said.rstrip("\r\n").split("\r\n")
        _, status, reason = line.split(" ", 2)
        headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
        body = b"" if status == "200" else await reader.readexactly(int(headers["content-length"]))
        return Answer(int(status), reason, headers, body.decode())


async def ask(made: Made, said: bytes) -> Answer:
    """What is answered to these bytes."""
    async with dialled(made) as (reader, writer):
        writer.write(said)
        return await answer_of(reader)


@asynccontextmanager
async def way(made: Made, **changes: str) -> AsyncIterator[Streams]:
    """A way into the member; `changes` as for `head`. Raises Refused."""
    async with dialled(made) as (reader, writer):
        writer.write(head(made, **changes))
        answer = await answer_of(reader)
        if answer.status != 200:
            raise Refused(f"{answer.status} {answer.reason}")
        yield reader, writer


async def refusal(made: Made, **changes: str) -> Answer:
    """What is answered where there is no way; `changes` as for `head`."""
    answer = await ask(made, head(made, **changes))
    assert answer.status != 200
    return answer


async def said_back(streams: Streams, words: bytes = b"hello") -> bool:
    """Whether an echo in the member still answers through this way. Raises OSError if the way was cut."""
    reader, writer = streams
    writer.write(words)
    async with asyncio.timeout(SECONDS):
        return await reader.readexactly(len(words)) == words


async def until_cut(streams: Streams) -> None:
    """Wait until the gateway ends the connection, in whichever manner."""
    reader, _ = streams
    async with asyncio.timeout(SECONDS):
        try:
            while await reader.read(SMALL):
                pass
        except OSError:
            return
