"""Ways from the hub to this member's API server: bytes, and nothing of them is read here.

The agent opens no other way: where a tunnel leads is not in the request. Who may do what there is the API
server's own decision, as for anybody who reaches it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from arbora.errors import PermissionDenied, Unavailable
from arbora.session.addresses import split
from arbora.session.link import Link
from arbora.tunnel.dialing import TunnelDialer
from arbora.tunnel.ends import SocketEnd, TunnelEnd
from arbora.v1 import tunnel_pb2 as pb

CONNECT_SECONDS = 5.0


def tunnels(link: Link, address: Callable[[], str], allowed: bool) -> TunnelDialer:
    """What opens tunnels of this member. address: host:port of the API server; empty: there is none."""

    @asynccontextmanager
    async def way(request: pb.TunnelRequest) -> AsyncIterator[TunnelEnd]:
        if not allowed:
            raise PermissionDenied(
                "this member lets nobody in", hint="Its operator can start the agent without --no-tunnels."
            )
        if request.path:
            raise Unavailable("nothing is below a member")
        where = address()
        if not where:
            raise Unavailable(
                "there is no API server that this agent could reach for others",
                hint="Members that are simulated, or reach theirs through a proxy, have none.",
            )
        async with _connected(where) as end:
            yield end

    return TunnelDialer(link.tunnel, way, lambda: link.credential.path)


@asynccontextmanager
async def _connected(address: str) -> AsyncIterator[TunnelEnd]:
    host, port = split(address)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"the API server can't be reached: {str(error) or 'no answer'}") from error
    end = SocketEnd(reader, writer)
    try:
        yield end
    finally:
        await end.close()
