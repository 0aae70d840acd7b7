"""A network in memory: who dials through it believes to hold a channel of grpc, and hubs serve it like one.

    Link -> session_channel -> Channel -> Stream: two pipes with a delay -> SessionService.Connect, in a task
    enroll -> join_channel -> Channel -> EnrollmentService.Enroll

A link is (a hub's host, the name of a child there). It can be broken (streams are reset, dials refused) or silent
(nothing arrives, and nobody is told; what was sent arrives if it comes back). Messages travel as bytes. Who the
peer is follows from its real certificate, checked against the hub's real authority.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, Self

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from arbora.errors import ArboraError, Unavailable
from arbora.identity.bundle import authority_with_pin
from arbora.rpc.guard import Caller, caller
from arbora.rpc.peer import Peer, peer_of
from arbora.rpc.status import code_of, detail_of
from arbora.session.addresses import split
from arbora.session.credential import utc_now
from arbora.v1 import session_pb2
from arbora_hub.app import Hub
from arbora_hub.enrollment.service import EnrollmentService, RenewalService
from arbora_hub.sessions.service import SessionService

LinkName = tuple[str, str]
_HALF_CLOSED, _GONE = object(), object()


@dataclass
class Site:
    """A hub that can be dialed."""

    hub: Hub
    sessions: SessionService
    unary: dict[str, Any]
    streams: set[Stream] = field(default_factory=set)


class Network:
    """All of it."""

    def __init__(self, delay: float = 0.002) -> None:
        """delay: seconds, one way."""
        self.delay = delay
        self.broken: set[LinkName] = set()
        self.silent: set[LinkName] = set()
        self.sites: dict[str, Site] = {}
        self.records: Counter[LinkName] = Counter()
        """Records that crossed a link, either way."""
        self.faults: list[BaseException] = []
        """What handlers raised that they must not."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Have everything dial through here."""
        patch.setattr("arbora.session.link.session_channel", self._session_channel)
        patch.setattr("arbora_hub.tree.joining.session_channel", self._session_channel)
        patch.setattr("arbora.session.enroll.join_channel", lambda address, ca: Channel(self, address))
        patch.setattr("arbora.session.enroll.pinned_authority", self._pinned)

    def open(self, host: str, hub: Hub) -> None:
        """The hub can be dialed under this name from now on."""
        hub.join_address, hub.session_address = f"{host}:7444", f"{host}:7445"
        enrolling = EnrollmentService(hub.enrollment, hub.authority, hub.inventory, hub.session_address)
        renewing = RenewalService(hub.enrollment, hub.authority)
        unary = {"Enroll": enrolling.Enroll, "Explain": enrolling.Explain, "Renew": renewing.Renew}
        self.sites[host] = Site(hub, SessionService(hub.sessions), unary)

    async def shut(self, host: str) -> None:
        """The hub's machine is gone: whoever holds a stream hears of it, and the hub says nothing more."""
        site = self.sites.pop(host)
        tasks = [stream.server for stream in site.streams if stream.server is not None]
        for stream in list(site.streams):
            stream.reset()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self, link: LinkName, *, silently: bool = False) -> None:
        """Nothing passes any more."""
        (self.silent if silently else self.broken).add(link)
        if not silently:
            for stream in self._streams(link):
                stream.reset()

    def mend(self, link: LinkName) -> None:
        """It passes again; what a silent link held back arrives."""
        self.broken.discard(link)
        self.silent.discard(link)
        for stream in self._streams(link):
            stream.up.flow()
            stream.down.flow()

    def _streams(self, link: LinkName) -> list[Stream]:
        site = self.sites.get(link[0])
        return [stream for stream in site.streams if stream.link == link] if site is not None else []

    def _session_channel(self, address: str, ca_pem: bytes, key_pem: bytes, chain_pem: bytes) -> Channel:
        return Channel(self, address, x509.load_pem_x509_certificate(chain_pem))

    async def _pinned(self, address: str, pin: str, seconds: float) -> bytes:
        site = self.sites.get(split(address)[0])
        if site is None:
            raise Unavailable(f"nobody is at {address}")
        chain = x509.load_pem_x509_certificates(site.hub.authority.open_tls().chain_pem)
        return authority_with_pin([one.public_bytes(Encoding.DER) for one in chain], pin, utc_now())


class Channel:
    """What is used of grpc.aio.Channel."""

    def __init__(self, network: Network, address: str, leaf: x509.Certificate | None = None) -> None:
        self._network = network
        self._host = split(address)[0]
        self._leaf = leaf
        self._streams: list[Stream] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End what runs."""
        for stream in self._streams:
            stream.cancel()

    def unary_unary(self, method: str, **_: Any) -> Callable[..., Awaitable[Any]]:
        """One question, one answer."""

        async def call(request: Any, timeout: float | None = None) -> Any:
            await asyncio.sleep(self._network.delay)
            site = self._network.sites.get(self._host)
            if site is None:
                raise _failure(grpc.StatusCode.UNAVAILABLE, f"nobody is at {self._host}")
            peer = self._peer() if self._leaf is not None else None
            token = caller.set(Caller("anyone", peer=peer, address=self._host))
            try:
                return await site.unary[method.rpartition("/")[2]](request, None)
            except ArboraError as error:
                raise _failure(code_of(error), str(error), detail_of(error)) from error
            finally:
                caller.reset(token)

        return call

    def stream_stream(self, method: str, **_: Any) -> Callable[..., Stream]:
        """A session."""

        def call(metadata: Any = None) -> Stream:
            site = self._network.sites.get(self._host)
            peer = self._peer()
            stream = Stream(self._network, (self._host, peer.spiffe_id.name), site)
            self._streams = [one for one in self._streams if not one.ended] + [stream]
            if site is None or stream.link in self._network.broken:
                stream.reset()
            elif site.hub.authority.explain(self._certificate()) is not None:
                stream.reset()  # as TLS would
            else:
                stream.start(peer)
            return stream

        return call

    def _certificate(self) -> x509.Certificate:
        assert self._leaf is not None
        return self._leaf

    def _peer(self) -> Peer:
        return peer_of(_Proven(self._certificate()))  # type: ignore[arg-type]


class _Proven:
    """What TLS says of a peer."""

    def __init__(self, leaf: x509.Certificate) -> None:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        self._said = {
            "peer_uri": [uri.encode() for uri in uris],
            "x509_pem_cert": [leaf.public_bytes(Encoding.PEM)],
        }

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._said

    def peer(self) -> str:
        return "memory"


class Pipe:
    """One direction of a stream: in order, after a delay, held back while the link is silent."""

    def __init__(self, network: Network, link: LinkName, arrived: Callable[[object], None]) -> None:
        self._network = network
        self._link = link
        self._arrived = arrived
        self._flying: deque[object] = deque()
        self._held = 0

    def send(self, item: object) -> None:
        """Never waits: flow control is not what is tried here."""
        self._flying.append(item)
        asyncio.get_running_loop().call_later(self._network.delay, self._land)

    def _land(self) -> None:
        if self._held or self._link in self._network.silent:
            self._held += 1
        elif self._flying:
            self._arrived(self._flying.popleft())

    def flow(self) -> None:
        """The link is not silent any more."""
        held, self._held = self._held, 0
        for _ in range(held):
            self._land()

    def clear(self) -> None:
        """What is on its way is lost."""
        self._flying.clear()
        self._held = 0


class Inlet:
    """The end of a pipe where one reader waits."""

    def __init__(self) -> None:
        self.items: deque[object] = deque()
        self._waiting: asyncio.Future[None] | None = None

    def put(self, item: object) -> None:
        """Something arrived."""
        self.items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> object:
        """The next thing; an end stays where it is."""
        while not self.items:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        first = self.items[0]
        if isinstance(first, bytes):
            self.items.popleft()
        return first

    def abandon(self) -> None:
        """The reader hears that its call was cancelled, as with grpc."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()


class Stream:
    """One session's stream: the dialing side's call, and the context that the hub's handler gets."""

    def __init__(self, network: Network, link: LinkName, site: Site | None) -> None:
        self.link = link
        self.server: asyncio.Task[None] | None = None
        self.ended = False
        self._network = network
        self._site = site
        self._inlet, self._served = Inlet(), Inlet()
        self._cancelled = False
        self.up = Pipe(network, link, self._reached_hub)
        self.down = Pipe(network, link, self._inlet.put)

    def start(self, peer: Peer) -> None:
        """The hub serves it."""
        assert self._site is not None
        self._site.streams.add(self)
        self.server = asyncio.create_task(self._serve(self._site, peer), name=f"serves {self.link}")

    async def _serve(self, site: Site, peer: Peer) -> None:
        caller.set(Caller(f"member/{self.link[1]}", peer=peer, address="memory"))
        try:
            await site.sessions.Connect(None, _Served(self))  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self._network.faults.append(error)
        finally:
            self.down.send(grpc.aio.EOF)
            site.streams.discard(self)

    def reset(self) -> None:
        """Both ends lose it at once, with what was on its way."""
        self.ended = True
        self.up.clear()
        self.down.clear()
        self._inlet.put(_GONE)
        self._reached_hub(_GONE)

    def _reached_hub(self, item: object) -> None:
        if item is _GONE:
            if self.server is not None:
                self.server.cancel()
        else:
            self._served.put(item)

    def count(self, batch: session_pb2.Batch) -> None:
        """Records cross the link."""
        self._network.records[self.link] += len(batch.records)

    # the dialing side: what is used of grpc.aio.StreamStreamCall

    async def write(self, message: session_pb2.Up) -> None:
        if self.ended or self._cancelled:
            raise asyncio.InvalidStateError("the call is over")
        self.count(message.batch)
        self.up.send(message.SerializeToString())

    async def done_writing(self) -> None:
        self.up.send(_HALF_CLOSED)

    async def read(self) -> Any:
        if self._cancelled:
            raise asyncio.CancelledError
        item = await self._inlet.get()
        if item is _GONE:
            raise _failure(grpc.StatusCode.UNAVAILABLE, "the stream was reset")
        return session_pb2.Down.FromString(item) if isinstance(item, bytes) else item

    def cancel(self) -> bool:
        if not self._cancelled and not self.ended:
            self._cancelled = self.ended = True
            self._inlet.abandon()
            self.up.send(_GONE)
        return True

    async def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.OK

    async def details(self) -> str:
        return ""

    async def initial_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    async def trailing_metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata()

    # the hub's side

    async def next_up(self) -> Any:
        item = await self._served.get()
        return session_pb2.Up.FromString(item) if isinstance(item, bytes) else grpc.aio.EOF


class _Served:
    """What is used of grpc.aio.ServicerContext."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def read(self) -> Any:
        return await self._stream.next_up()

    async def write(self, message: session_pb2.Down) -> None:
        self._stream.count(message.batch)
        self._stream.down.send(message.SerializeToString())

    async def abort(self, *_: object) -> NoReturn:
        raise AssertionError("a session is never aborted")


def _failure(
    code: grpc.StatusCode, details: str, trailing: tuple[tuple[str, bytes], ...] = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing), details=details)
