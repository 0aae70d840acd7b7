"""Opens the hub's HTTP side, as far as the settings ask for it. One of the hub's parts, for its composition root.

    metrics_address    counted on the loop every few seconds, served by threads
    gateway_address    an HTTPS proxy into the members
    (no address)       nothing is loaded, and nothing runs

Decides nothing.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from ipaddress import ip_network
from types import TracebackType
from typing import TYPE_CHECKING, Self

import structlog

from arbora.errors import InvalidInput, StorageFailed
from arbora.session.addresses import join, split
from arbora_hub.api.access import AccessList
from arbora_hub.enrollment.authority import HubAuthority
from arbora_hub.gpus.members import MemberGpus
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import Journal
from arbora_hub.sessions.registry import Sessions
from arbora_hub.settings import HubSettings
from arbora_hub.tree.uplink import Uplink
from arbora_hub.tunnels.opening import Tunnels
from arbora_hub.workloads.book import Book

if TYPE_CHECKING:
    from arbora.metrics import MetricsServer
    from arbora_hub.gateway.metrics import HubMetrics
    from arbora_hub.gateway.proxy import ConnectProxy, ProxyOptions
    from arbora_hub.gateway.reverse import CaOf

log = structlog.get_logger(__name__)


class Gateway:
    """Serves while it is entered; `run` keeps what it serves current."""

    def __init__(
        self,
        settings: HubSettings,
        inventory: Inventory,
        sessions: Sessions,
        workloads: Book,
        gpus: MemberGpus,
        uplink: Uplink,
        accesses: AccessList,
        tunnels: Tunnels,
        journal: Journal,
        authority: HubAuthority,
        ca_of: CaOf,
    ) -> None:
        """ca_of: what verifies a member's API server, for the reverse proxy."""
        self._settings = settings
        self._counted = (inventory, sessions, workloads, gpus, uplink)
        self._served = (accesses, tunnels, journal)
        self._authority = authority
        self._ca_of = ca_of
        self._stack = AsyncExitStack()
        self._shown: HubMetrics | None = None
        self.metrics: MetricsServer | None = None
        """None: not wanted, or not entered yet; so for the next."""
        self.proxy: ConnectProxy | None = None

    @property
    def address(self) -> str:
        """host:port of the proxy, as members of the public dial it; empty: there is none."""
        if self.proxy is None:
            return ""
        host, _ = split(self._settings.gateway_address)
        anywhere = host in ("", "0.0.0.0", "::")
        return join(self._settings.advertise or ("127.0.0.1" if anywhere else host), self.proxy.port)

    async def __aenter__(self) -> Self:
        """Open the ports, before the hub's others: if one is taken, nothing has begun.

        Raises InvalidInput, Conflict.
        """
        async with AsyncExitStack() as stack:
            if self._settings.metrics_address:
                from arbora.metrics import MetricsServer
                from arbora_hub.gateway.metrics import HubMetrics

                self._shown = HubMetrics(*self._counted)
                server = MetricsServer(self._settings.metrics_address, self._shown)
                self.metrics = await stack.enter_async_context(server)
            if self._settings.gateway_address:
                self.proxy = await self._open_proxy(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close them."""
        await self._stack.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Until cancelled; returns at once if nothing has to be counted."""
        if self._shown is not None:
            await self._shown.run()

    async def _open_proxy(self, stack: AsyncExitStack) -> ConnectProxy:
        from arbora_hub.gateway.proxy import ConnectProxy, ProxyOptions
        from arbora_hub.gateway.tls import present, server_context

        context = server_context()

        def renewed() -> None:
            try:
                present(context, self._authority.open_tls(), self._settings.data_dir)
            except (OSError, StorageFailed) as error:
                # The old one is good for as long again.
                log.error("the gateway keeps its old certificate", error=str(error))

        present(context, self._authority.open_tls(), self._settings.data_dir)
        self._authority.on_certificate(renewed)
        proxy = ConnectProxy(*self._served, context, self._options(ProxyOptions))
        await proxy.start(*split(self._settings.gateway_address))
        stack.push_async_callback(proxy.stop)
        return proxy

    def _options(self, options: type[ProxyOptions]) -> ProxyOptions:
        """From the settings. Raises InvalidInput."""
        settings = self._settings
        if settings.gateway_reverse and not settings.gateway_admit:
            raise InvalidInput(
                "the reverse proxy has no clients",
                field="gateway_reverse",
                hint="Say from which networks they come, such as --gateway-admit 10.0.0.0/8.",
            )
        try:
            admit = tuple(ip_network(text) for text in settings.gateway_admit)
        except ValueError as error:
            raise InvalidInput(
                f"{error}", field="gateway_admit", hint="Write a network such as 10.0.0.0/8."
            ) from error
        return options(admit, settings.gateway_reverse, self._ca_of)
