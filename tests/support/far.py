"""A server in a member, which nobody dials but the member's agent: what is at the far end of a way.

far_server(echo)               plain TCP, so that tests see each way end for itself
far_server(echo, tls=True)     for NAME, as an API server is
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from arbora.identity import keys
from arbora.identity.authority import make_authority, to_pem
from arbora.identity.issue import issue_server
from arbora_agent.cluster.port import ClusterFacts
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from tests.support.eventually import eventually

NAME = "kubernetes.default.svc"
SMALL = 64 * 1024
"""Bytes of a socket's buffer where the kernel is to hold little."""

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Far:
    """It, and what came of those that were let in."""

    address: str = ""
    ca_pem: bytes = b""
    accepted: int = 0
    """Connections so far."""
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    """Of these, those that still go on."""

    async def until_left(self) -> None:
        """Wait until nobody is connected any more."""
        await eventually(lambda: not self.serving, "the server in the member is rid of everybody")


@asynccontextmanager
async def far_server(handler: Handler, *, tls: bool = False) -> AsyncIterator[Far]:
    """It serves while the block lasts; then everybody is cut. handler: one connection, that it need not close."""
    far = Far()
    context = _presented(far) if tls else None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        far.accepted += 1
        far.serving.add(task)
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            writer.close()
            far.serving.discard(task)

    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    server = await asyncio.start_server(serve, sock=listening, ssl=context)
    far.address = f"127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield far
    finally:
        server.close()
        left = tuple(far.serving)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _presented(far: Far) -> ssl.SSLContext:
    now = datetime.now(UTC)
    authority, key = make_authority("far.test", now), keys.new_key()
    leaf = issue_server(authority, key.public_key(), [NAME], now)
    far.ca_pem = to_pem(authority)[0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        chain, secret = Path(folder) / "chain.pem", Path(folder) / "key.pem"
        chain.write_bytes(leaf.public_bytes(Encoding.PEM))
        secret.write_bytes(keys.to_pem(key))
        context.load_cert_chain(chain, secret)
    return context


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says what it hears, and ends when it has heard the end."""
    while data := await reader.read(SMALL):
        writer.write(data)
        await writer.drain()


class ReachableCluster(SimulatedCluster):
    """A simulated cluster whose API server is somewhere."""

    def __init__(self, simulation: Simulation, address: str, ca_pem: bytes = b"") -> None:
        """address: host:port."""
        super().__init__(simulation)
        self.address = address
        self._ca_pem = ca_pem

    def facts(self) -> ClusterFacts:
        """The slow facts as known now."""
        return replace(super().facts(), api_address=self.address, api_ca_pem=self._ca_pem)
