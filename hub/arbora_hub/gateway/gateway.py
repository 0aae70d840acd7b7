"""Opens the hub's HTTP side, as far as the settings ask for it. One of the hub's parts, for its composition root.

    no address    nothing is loaded, and nothing runs
    an address    metrics are counted on the loop every few seconds and served by threads

Decides nothing, and knows no HTTP: `arbora.metrics` does.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from arbora_hub.gpus.members import MemberGpus
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.sessions.registry import Sessions
from arbora_hub.tree.uplink import Uplink
from arbora_hub.workloads.book import Book

if TYPE_CHECKING:
    from arbora.metrics import MetricsServer
    from arbora_hub.gateway.metrics import HubMetrics


class Gateway:
    """Serves while it is entered; `run` keeps what it serves current."""

    def __init__(
        self,
        metrics_address: str,
        inventory: Inventory,
        sessions: Sessions,
        workloads: Book,
        gpus: MemberGpus,
        uplink: Uplink,
    ) -> None:
        """metrics_address: host:port; empty: no metrics."""
        self._address = metrics_address
        self._counted = (inventory, sessions, workloads, gpus, uplink)
        self._shown: HubMetrics | None = None
        self.metrics: MetricsServer | None = None
        """None: not wanted, or not entered yet."""

    async def __aenter__(self) -> Self:
        """Open the port, before the hub's others: if it is taken, nothing has begun.

        Raises InvalidInput, Conflict.
        """
        if self._address:
            from arbora.metrics import MetricsServer
            from arbora_hub.gateway.metrics import HubMetrics

            self._shown = HubMetrics(*self._counted)
            server = MetricsServer(self._address, self._shown)
            self.metrics = await server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self.metrics is not None:
            await self.metrics.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Until cancelled; returns at once if nothing is wanted."""
        if self._shown is not None:
            await self._shown.run()
