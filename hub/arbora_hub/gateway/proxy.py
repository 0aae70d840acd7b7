"""The gateway: an HTTPS proxy whose every way leads to the API server of one member.

    TLS -> CONNECT (head.py) -> whose token is it -> a tunnel to the member -> 200 -> bytes, until both ways end

The client speaks TLS with the member's API server through it, end to end: nothing of that can be read here. A
token opens the way to one member and does no more; what may be done there is the API server's own decision. When
the token is revoked, or its time is over, its tunnels end with it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from arbora.errors import ArboraError, Conflict, Exhausted, InvalidInput, PermissionDenied, StorageFailed
from arbora.identity import bearer
from arbora.session.addresses import join
from arbora.tunnel.ends import CHUNK, SocketEnd
from arbora.tunnel.splice import Passed, splice
from arbora_hub.api.access import AccessList
from arbora_hub.gateway.head import Head, Wanted
from arbora_hub.gateway.naming import dotted
from arbora_hub.journal import Journal
from arbora_hub.store.rows import AccessRow
from arbora_hub.tunnels.opening import Tunnels
from arbora_hub.unbroken import unbroken

log = structlog.get_logger(__name__)

HEAD_SECONDS = 10.0
"""A client has said by then what it wants."""
MAX_CLIENTS = 2000


class ConnectProxy:
    """Serves one port."""

    def __init__(
        self,
        accesses: AccessList,
        tunnels: Tunnels,
        journal: Journal,
        context: ssl.SSLContext,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """context: with the gateway's certificate. wall: seconds since the epoch."""
        self._accesses = accesses
        self._tunnels = tunnels
        self._journal = journal
        self._context = context
        self._wall = wall
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._of_access: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        accesses.on_revoked(self._revoked)

    @property
    def port(self) -> int:
        """That it listens on."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises Conflict."""
        try:
            self._server = await asyncio.start_server(
                self._accepted,
                host or None,
                port,
                ssl=self._context,
                ssl_handshake_timeout=HEAD_SECONDS,
                limit=2 * CHUNK,
            )
        except OSError as error:
            raise Conflict(
                f"the gateway can't listen on {join(host, port)}: {error.strerror or error}",
                hint="Another process holds the port. Choose another with --gateway-address.",
            ) from error

    async def stop(self) -> None:
        """Stop listening, and cut every tunnel."""
        if self._server is not None:
            self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    # one client

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        end, head = SocketEnd(reader, writer), Head()
        host, port = writer.get_extra_info("peername")[:2]
        try:
            if len(self._clients) > MAX_CLIENTS:
                raise Exhausted(f"{MAX_CLIENTS} clients are here already", retry_after=5.0)
            wanted = await _wanted(head, end)
            if wanted is not None:
                await self._serve(wanted, head, end, join(host, port), task)
        except ArboraError as error:
            log.info("way_refused", peer=host, why=str(error))
            await _say(end, head.refuse(error))
        except asyncio.CancelledError:
            end.abort()
        except Exception:
            log.exception("gateway_failed")
            end.abort()
        finally:
            self._clients.discard(task)
            await end.close()

    async def _serve(
        self, wanted: Wanted, head: Head, end: SocketEnd, peer: str, task: asyncio.Task[None]
    ) -> None:
        """Open the way and pass bytes. Raises ArboraError for as long as nothing was promised."""
        row = self._accesses.check_connect(wanted.token.reveal())
        if wanted.user != dotted(row.member):
            raise PermissionDenied(f"this token opens the way to {dotted(row.member)}, not to {_named(wanted)}")
        async with self._tunnels.open(row.member, f"access/{row.name}") as far, self._audited(row, peer):
            # It may have been revoked meanwhile; from here on that ends this task.
            self._accesses.check_connect(wanted.token.reveal())
            said, early = head.accept()
            self._of_access[row.id].add(task)
            passed = Passed()
            try:
                async with asyncio.timeout(None if row.expires is None else row.expires - self._wall()):
                    await end.write(said)
                    if early:
                        await far.write(early)
                    await splice(end, far, passed)
            except (ArboraError, TimeoutError) as error:
                end.abort()
                log.info("way_cut", access=row.name, to=row.member, why=str(error) or "the token has run out")
            finally:
                self._of_access[row.id].discard(task)
                log.info("way_closed", access=row.name, to=row.member, up=passed.forth, down=passed.back)

    @asynccontextmanager
    async def _audited(self, row: AccessRow, peer: str) -> AsyncIterator[None]:
        """The way is open for the length of the block. Its client does not wait until that is on the disk."""
        writing = asyncio.create_task(self._audit(row, peer))
        try:
            yield
        finally:
            await unbroken(writing)

    async def _audit(self, row: AccessRow, peer: str) -> None:
        try:
            await self._journal.audit(f"access/{row.name}", "OpenTunnel", row.member, "OK", peer, "")
        except StorageFailed as error:
            log.error("audit entry lost", action="OpenTunnel", subject=row.member, error=str(error))

    def _revoked(self, row: AccessRow) -> None:
        for task in self._of_access.pop(row.id, ()):
            task.cancel()


def _named(wanted: Wanted) -> str:
    """The member that a client names, where it is not a token that it put in the wrong place."""
    try:
        bearer.parse(wanted.user)
    except InvalidInput:
        return wanted.user[:100]
    return "a token"


async def _wanted(head: Head, end: SocketEnd) -> Wanted | None:
    """What the client says in time; None: nothing. Raises ArboraError."""
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            while True:
                data = await end.read()
                wanted = head.take(data)
                if wanted is not None or not data:
                    return wanted
    except TimeoutError:
        return None


async def _say(end: SocketEnd, words: bytes) -> None:
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            await end.write(words)
    except (ArboraError, TimeoutError):
        end.abort()
