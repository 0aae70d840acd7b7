"""The HTTP port where Prometheus reads a hub, a cluster's agent or a node agent: `/metrics`, and `/healthz`.

    a scrape -> a thread of its own -> `collect()` of what the process gave -> text, or OpenMetrics if asked for
    a probe  -> a thread of its own -> does the event loop still turn?

Threads answer, so that a large answer never holds up the loop. Whoever writes a collector has to know: `collect`
is called on such a thread while the loop goes on. It may read one immutable snapshot that the loop replaces as a
whole (setting an attribute is atomic), numbers and flags, and nothing else; above all it must never walk over a
dict that the loop changes.

Plain HTTP without authentication, which is what Prometheus expects inside a cluster: nothing secret may get here.
Import this only where the endpoint is wanted; it costs about 3 MB of memory.

Not `prometheus_client.start_http_server`: that one answers every path with metrics, lets any number of silent
connections hold a thread for ever, asks the DNS for its own name, and leaves its connections open at the end.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

import structlog
from prometheus_client import CollectorRegistry, Metric, PlatformCollector, ProcessCollector, make_wsgi_app
from prometheus_client.core import InfoMetricFamily
from prometheus_client.registry import Collector

from arbora.errors import Conflict
from arbora.session import addresses
from arbora.version import __version__

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Requests that are answered at the same time; further ones are cut off."""
SILENT_SECONDS = 5.0
"""How long a client may say or take nothing."""
LOOP_SECONDS = 5.0
"""An event loop that does not come round within this is not well."""
OPTION = "--metrics-address"


class MetricsServer:
    """Serves while it is entered: `async with MetricsServer(address, collector) as server`."""

    def __init__(self, address: str, collector: Collector) -> None:
        """address: host:port to listen on; no host means every interface, port 0 picks one. collector: see above.

        Raises InvalidInput for what is no address.
        """
        self._address = address
        self._host, self._wanted = addresses.split(address, OPTION)
        registry = CollectorRegistry()
        for each in (collector, _Build()):
            registry.register(each)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._metrics: Any = make_wsgi_app(registry)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        """The port that it listens on; 0: not yet."""

    async def __aenter__(self) -> Self:
        """Listen. Raises Conflict if the address is taken, or is none of this machine's."""
        self._loop = asyncio.get_running_loop()
        try:
            self._server = server = _Server(*await self._find())
        except OSError as error:
            raise Conflict(
                f"can't serve metrics on {self._address}: {error.strerror or error}",
                hint="Another process holds the port, or the host isn't an address of this machine. "
                f"Choose another with {OPTION}.",
            ) from error
        server.set_app(self._answer)
        self.port = server.server_port
        self._thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics_served", address=self._address, port=self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, cut what is still open, and wait for the threads, without holding up the loop."""
        await asyncio.to_thread(self._stop)

    async def _find(self) -> tuple[socket.AddressFamily, str, int]:
        """Family, host and port to bind."""
        if not self._host and socket.has_dualstack_ipv6():
            return socket.AF_INET6, "", self._wanted
        assert self._loop is not None
        found = await self._loop.getaddrinfo(
            self._host or None, self._wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, where = found[0]
        return family, str(where[0]), self._wanted

    def _stop(self) -> None:
        server, thread = self._server, self._thread
        assert server is not None
        assert thread is not None
        server.shutdown()
        thread.join()
        server.server_close()

    # on the threads of requests

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            try:
                answer: Iterable[bytes] = self._metrics(environ, start_response)
            except Exception:
                # What went wrong is for our log, and never for whoever asked.
                log.exception("metrics_failed")
                return _say(start_response, "500 Internal Server Error", "metrics can't be told; see the log")
            return answer
        if path != "/healthz":
            return _say(start_response, "404 Not Found", "there are /metrics and /healthz")
        if environ["REQUEST_METHOD"] != "GET":
            return _say(start_response, "405 Method Not Allowed", "use GET")
        if not self._turns():
            return _say(start_response, "503 Service Unavailable", "the event loop does not turn")
        return _say(start_response, "200 OK", "ok")

    def _turns(self) -> bool:
        """Whether the event loop comes round."""
        turned = threading.Event()
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(turned.set)
        except RuntimeError:
            return False  # it has ended
        return turned.wait(LOOP_SECONDS)


class _Build(Collector):
    """Which version this is."""

    def collect(self) -> Iterable[Metric]:
        yield InfoMetricFamily("arbora_build", "Version of Arbora.", value={"version": __version__})


class _Handler(WSGIRequestHandler):
    """One request, with a deadline for each read and write. Logs nothing."""

    timeout = SILENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are no decisions."""


class _Server(ThreadingMixIn, WSGIServer):
    """Listens as soon as it is made; a thread for each request, and never more than AT_ONCE."""

    def __init__(self, family: socket.AddressFamily, host: str, port: int) -> None:
        """Raises OSError."""
        self.address_family = family
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._open: set[Any] = set()
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """As its parents, which would ask the DNS for the name of this machine."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(self.server_address[0])))
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give the request a thread, if there is room for one."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._open.add(request)
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._done(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer it, on its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._done(request)

    def server_close(self) -> None:
        """Cut what is open, so that no thread waits for its client, and wait for the threads."""
        for request in tuple(self._open):
            with suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away or said nothing is no matter of ours."""
        log.debug("metrics_request_broken", peer=client_address[0], why=str(sys.exception()))

    def _done(self, request: Any) -> None:
        self._open.discard(request)
        self._room.release()


def _say(start_response: StartResponse, status: str, sentence: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return (f"{sentence}\n".encode(),)
