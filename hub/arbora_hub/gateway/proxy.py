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
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

import structlog

from arbora.errors import (
    ArboraError,
    Conflict,
    Exhausted,
    InvalidInput,
    PermissionDenied,
    StorageFailed,
    Unauthenticated,
)
from arbora.identity import bearer
from arbora.session.addresses import join, split
from arbora.tunnel.ends import CHUNK, SocketEnd, TunnelEnd
from arbora.tunnel.splice import Passed, splice
from arbora_hub.api.access import AccessList
from arbora_hub.gateway.head import Head, Wanted
from arbora_hub.gateway.naming import dotted, undotted
from arbora_hub.gateway.reverse import CaOf, secured
from arbora_hub.journal import Journal
from arbora_hub.store.rows import AccessRow
from arbora_hub.tunnels.opening import Tunnels
from arbora_hub.unbroken import unbroken

log = structlog.get_logger(__name__)

HEAD_SECONDS = 10.0
"""A client has said by then what it wants."""
MAX_CLIENTS = 2000
AUDIT_SECONDS = 0.1
"""How long a way is open before that is written down."""


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What is off by default."""

    admit: tuple[IPv4Network | IPv6Network, ...] = ()
    """Clients from there need no token; the member's API server knows them by their own."""
    reverse: bool = False
    """Serve /clusters/MEMBER/... to them, too."""
    ca_of: CaOf | None = None
    """Needed for that."""


@dataclass(frozen=True, slots=True)
class _Way:
    """A way that may be opened."""

    member: str
    """Its path relative to this hub."""
    actor: str
    row: AccessRow | None
    """The token's; None: the client's network is admitted."""


class ConnectProxy:
    """Serves one port."""

    def __init__(
        self,
        accesses: AccessList,
        tunnels: Tunnels,
        journal: Journal,
        context: ssl.SSLContext,
        options: ProxyOptions = ProxyOptions(),
        wall: Callable[[], float] = time.time,
    ) -> None:
        """context: with the gateway's certificate. wall: seconds since the epoch."""
        self._accesses = accesses
        self._tunnels = tunnels
        self._journal = journal
        self._context = context
        self._options = options
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
        end, head = SocketEnd(reader, writer), Head(self._options.reverse)
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
        way = self._way(wanted, peer)
        async with self._tunnels.open(way.member, way.actor) as far, self._audited(way, peer):
            # It may have been revoked meanwhile; from here on that ends this task.
            row = self._way(wanted, peer).row
            if row is not None:
                self._of_access[row.id].add(task)
            passed = Passed()
            try:
                async with asyncio.timeout(_left(row, self._wall())):
                    if wanted.head:
                        await self._reverse(way, wanted, head, end, far, passed)
                    else:
                        said, early = head.accept()
                        await end.write(said)
                        if early:
                            await far.write(early)
                        await splice(end, far, passed)
            except TimeoutError:
                end.abort()
                log.info("way_cut", actor=way.actor, to=way.member, why="the token has run out")
            except ArboraError as error:
                if wanted.head and not passed.back:
                    raise
                end.abort()
                log.info("way_cut", actor=way.actor, to=way.member, why=str(error))
            finally:
                if row is not None:
                    self._left_by(row.id, task)
                log.info("way_closed", actor=way.actor, to=way.member, up=passed.forth, down=passed.back)

    def _way(self, wanted: Wanted, peer: str) -> _Way:
        """Where it leads and who goes. Raises Unauthenticated, PermissionDenied."""
        if wanted.token:
            row = self._accesses.check_connect(wanted.token.reveal())
            if wanted.user != dotted(row.member):
                raise PermissionDenied(
                    f"this token opens the way to {dotted(row.member)}, not to {_named(wanted)}"
                )
            return _Way(row.member, f"access/{row.name}", row)
        host = ip_address(split(peer)[0])
        host = getattr(host, "ipv4_mapped", None) or host
        if not any(host in network for network in self._options.admit):
            raise Unauthenticated(
                "there is no token, and clients from here need one", hint="arbora kubeconfig writes one"
            )
        return _Way(undotted(wanted.user), f"network/{host}", None)

    async def _reverse(
        self, way: _Way, wanted: Wanted, head: Head, end: SocketEnd, far: TunnelEnd, passed: Passed
    ) -> None:
        async with secured(far, await self._options.ca_of(way.member) if self._options.ca_of else b"") as server:
            await server.write(wanted.head + head.early())
            await splice(end, server, passed)

    @asynccontextmanager
    async def _audited(self, way: _Way, peer: str) -> AsyncIterator[None]:
        """The way is open for the length of the block. Its client does not wait until that is on the disk."""
        ended = asyncio.Event()
        writing = asyncio.create_task(self._audit(way, peer, ended))
        try:
            yield
        finally:
            ended.set()
            await unbroken(writing)

    async def _audit(self, way: _Way, peer: str, ended: asyncio.Event) -> None:
        # After the first words of both sides, which would wait for it; sooner if the way ends before.
        with suppress(TimeoutError):
            async with asyncio.timeout(AUDIT_SECONDS):
                await ended.wait()
        try:
            await self._journal.audit(way.actor, "OpenTunnel", way.member, "OK", peer, "")
        except StorageFailed as error:
            log.error("audit entry lost", action="OpenTunnel", subject=way.member, error=str(error))

    def _left_by(self, access: str, task: asyncio.Task[None]) -> None:
        tasks = self._of_access.get(access, set())
        tasks.discard(task)
        if not tasks:
            self._of_access.pop(access, None)

    def _revoked(self, row: AccessRow) -> None:
        for task in self._of_access.pop(row.id, ()):
            task.cancel()


def _left(row: AccessRow | None, now: float) -> float | None:
    """Seconds until the token ends; None: it doesn't, or there is none."""
    return None if row is None or row.expires is None else row.expires - now


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
