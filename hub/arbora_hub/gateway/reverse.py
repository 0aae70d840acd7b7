"""The other way through the gateway, for clients that can't use a proxy: TLS with the member ends in the hub.

    GET /clusters/<member>/api/v1/pods  ->  a tunnel, TLS to the API server in it  ->  GET /api/v1/pods

One request a connection, so that nothing but its head is read here; what follows passes as it is, also where the
two sides change to another protocol. Off by default: the hub could read what passes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from arbora.errors import InvalidInput, Unavailable
from arbora.tunnel.ends import CHUNK, SocketEnd, TunnelEnd
from arbora.tunnel.splice import Passed, splice

PREFIX = "/clusters/"
HOST = "kubernetes.default.svc"
"""In the certificate of every API server."""
HANDSHAKE_SECONDS = 10.0
_OURS = frozenset({b"host", b"connection", b"keep-alive", b"proxy-authorization", b"proxy-connection"})

Headers = Sequence[tuple[bytes, bytes]]
CaOf = Callable[[str], Awaitable[bytes]]
"""The PEM that verifies the API server of a member, given its path relative to this hub. Raises ArboraError."""


def member_of(target: str) -> tuple[str, str]:
    """The member's dotted name and the rest of the target, which begins with a slash. Raises InvalidInput."""
    name, slash, rest = target.removeprefix(PREFIX).partition("/")
    if not target.startswith(PREFIX) or not name:
        raise InvalidInput("a target is /clusters/MEMBER/..., with the member as in edge-7.paris.eu")
    return name, f"{slash}{rest}" or "/"


def request_head(method: bytes, target: str, headers: Headers) -> bytes:
    """The request's head as it goes to the API server: for that one, and the last of its connection."""
    upgrade = any(name == b"upgrade" for name, _ in headers)
    kept = [(name, value) for name, value in headers if name not in _OURS]
    kept += [(b"host", HOST.encode()), (b"connection", b"Upgrade" if upgrade else b"close")]
    lines = [b"%s %s HTTP/1.1" % (method, target.encode()), *(b"%s: %s" % each for each in kept)]
    return b"\r\n".join((*lines, b"", b""))


@asynccontextmanager
async def secured(far: TunnelEnd, ca_pem: bytes) -> AsyncIterator[TunnelEnd]:
    """TLS to the API server at the far end of a tunnel. ca_pem: empty: the usual ones. Raises Unavailable."""
    context = ssl.create_default_context(cadata=ca_pem.decode() or None)
    # Many clusters' own CAs lack the key identifiers that Python 3.13 asks for by default.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    near, inner = socket.socketpair()
    carrying: asyncio.Task[None] | None = None
    try:
        carrier = SocketEnd(*await asyncio.open_connection(sock=near, limit=2 * CHUNK))
        carrying = asyncio.create_task(splice(carrier, far, Passed()))
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                reader, writer = await asyncio.open_connection(
                    sock=inner, ssl=context, server_hostname=HOST, limit=2 * CHUNK
                )
        except (OSError, TimeoutError) as error:
            raise Unavailable(
                f"the member's API server did not prove who it is: {str(error) or 'no answer'}"
            ) from error
        end = SocketEnd(reader, writer)
        try:
            yield end
        finally:
            await end.close()
    finally:
        inner.close()
        if carrying is None:
            near.close()
        else:
            carrying.cancel()
            await asyncio.gather(carrying, return_exceptions=True)
