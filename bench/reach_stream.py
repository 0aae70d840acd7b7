"""How fast bytes go through a tunnel, and what a gigabyte of them leaves behind: part `stream` of `reach`.

The hub and the agent are processes; what sends and who reads are in this one, on the same cores. The client
speaks TLS with the gateway, as every client does; inside it there is no second TLS here, which real clients have
with the API server and no hub touches.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from arbora.client import HubClient
from arbora.errors import Unavailable
from arbora.v1 import tunnel_pb2
from bench import proc
from bench.processes import HubProcess, Running, free_ports, scratch
from bench.report import Report
from bench.watching import schedulable, seen_members

NAME = "far"
MIB = 2**20
ROUNDS = 5
ROUND_BYTES = 256 * MIB
BULK_BYTES = 1024 * MIB
OPENINGS = 100
WAIT_SECONDS = 30.0


async def run(report: Report) -> None:
    """Openings, then streams, then a gigabyte."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(scratch())
        source = await stack.enter_async_context(_source())
        (port,) = free_ports(1)
        one = HubProcess(folder, arguments=("--gateway-address", f"127.0.0.1:{port}"))
        stack.push_async_callback(one.stop)
        await one.start()
        await one.answers()
        client = await stack.enter_async_context(one.client())
        members = await stack.enter_async_context(seen_members(client))
        agent = await _agent(folder, one, client, source)
        stack.push_async_callback(agent.stop)
        await agent.start()
        await members.until(lambda: schedulable(members.now.get(f"/{NAME}")), WAIT_SECONDS)
        made = await client.connect_tokens.create(NAME)
        report.say(f"stream: {OPENINGS} openings, {ROUNDS} streams of {ROUND_BYTES // MIB} MiB, one of 1 GiB")
        opened = [(await _fetch(made, 1))[0] * 1000 for _ in range(OPENINGS)]
        how = "TCP connect to the gateway -> its 200: TLS, the tunnel through hub and agent; one member"
        report.quantile("stream.open", opened, 0.5, "ms", how)
        report.quantile("stream.open", opened, 0.99, "ms", how)
        rates = sorted([ROUND_BYTES / 1e6 / (await _fetch(made, ROUND_BYTES))[1] for _ in range(ROUNDS)])
        how = (
            f"one stream, loopback, member to client through one hub; median of {ROUNDS} of "
            f"{ROUND_BYTES // MIB} MiB, {rates[0]:.0f} to {rates[-1]:.0f}; hub and agent are processes, sender "
            "and client a third, on 2 cores"
        )
        report.figure("stream.rate", rates[len(rates) // 2], "MB/s", how, at_least=100)
        before = [proc.memory(each.pid).rss for each in (one, agent)]
        await _fetch(made, BULK_BYTES)
        after = [proc.memory(each.pid).rss for each in (one, agent)]
        for what, grown in zip(
            ("hub", "agent"), (b - a for a, b in zip(before, after, strict=True)), strict=True
        ):
            how = f"growth of the {what}'s VmRSS by 1 GiB through one tunnel, after {ROUNDS} others"
            report.figure(f"stream.gigabyte.{what}_memory", grown * 1024 / 1e6, "MB", how, at_most=10)


async def _agent(folder: Path, one: HubProcess, client: HubClient, source: str) -> Running:
    data = folder / "agent"
    data.mkdir(mode=0o700)
    token = (await client.join_tokens.create(NAME)).token
    arguments = (str(data), one.join_address, NAME, source)
    return Running(arguments, folder / "agent.log", {"ARBORA_JOIN_TOKEN": token}, "bench.tunnel_agent")


@asynccontextmanager
async def _source() -> AsyncIterator[str]:
    """Sends as many bytes as it is asked for, in eight bytes; its address."""
    block = os.urandom(MIB)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = int.from_bytes(await reader.readexactly(8))
        while left > 0:
            writer.write(block[:left])
            left -= len(block)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def _fetch(made: tunnel_pb2.CreateConnectTokenResponse, size: int) -> tuple[float, float]:
    """Seconds until the way was open, and for `size` bytes after that. Raises Unavailable."""
    context = ssl.create_default_context(cadata=made.ca_pem.decode())
    host, _, port = made.gateway.rpartition(":")
    begun = time.perf_counter()
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=MIB)
    try:
        password = base64.b64encode(f"{made.user}:{made.token}".encode()).decode()
        wanted = (
            f"CONNECT kubernetes.default.svc:443 HTTP/1.1\r\nHost: m\r\nProxy-Authorization: Basic {password}"
        )
        writer.write(f"{wanted}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        opened = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            raise Unavailable(head.decode())
        writer.write(size.to_bytes(8))
        left = size
        while data := await reader.read(MIB):
            left -= len(data)
        if left:
            raise Unavailable(f"{left} bytes of {size} did not come")
        return opened - begun, time.perf_counter() - opened
    finally:
        writer.transport.abort()
