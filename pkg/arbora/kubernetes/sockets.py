"""Remembers the sockets that an HTTP client opened, so that closing means closed.

For: `api.py`. A request that is cancelled gives its connection up with a TLS farewell that waits for the
other side, up to 30 s and longer than the event loop may live; the client's own close doesn't wait for
those.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from weakref import WeakSet

CLOSING = 1.0
"""Seconds that sockets may take to close once they were shut down; it is a few turns of the event loop."""

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]


class Sockets:
    """The sockets of one client."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()

    def make(self, address: AddressInfo) -> socket.socket:
        """A new socket for `address`; what aiohttp calls a socket factory."""
        family, kind, protocol, _, _ = address
        made = socket.socket(family=family, type=kind, proto=protocol)
        self._open.add(made)
        return made

    async def close(self) -> None:
        """Shut every socket down and return once their transports have noticed."""
        for each in list(self._open):
            with contextlib.suppress(OSError):
                # Closed already, or never connected.
                each.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(TimeoutError):
            # A socket that nobody reads any more is left to the garbage collector.
            async with asyncio.timeout(CLOSING):
                while any(each.fileno() >= 0 for each in list(self._open)):  # noqa: ASYNC110 - transports tell nobody
                    await asyncio.sleep(0)
