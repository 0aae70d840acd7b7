"""Where prices come from: a file or an HTTP endpoint, asked again now and then; the last good ones are kept.

`placement.cost` reads and looks up. A source that fails costs nothing but age: prices older than a day are no
longer used, and then the cost of a member is not known, which is told in every explanation.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import structlog

from arbora.capacity.gpus import GpuClass
from arbora.errors import InvalidInput
from arbora_hub.journal import WARNING, Journal
from arbora_hub.placement.cost import PriceTable, parse_prices

log = structlog.get_logger(__name__)

FETCH_SECONDS = 300.0
TIMEOUT_SECONDS = 10.0
MAX_BYTES = 4 * 1024 * 1024


class Prices:
    """The hub's price table."""

    def __init__(self, source: str, journal: Journal, clock: Callable[[], float]) -> None:
        """source: a file, or an http(s) URL; empty: there are no prices. clock: wall time in seconds."""
        self._source = source
        self._journal = journal
        self._clock = clock
        self._table: PriceTable | None = None
        self._failed = False
        self._on_change: list[Callable[[], None]] = []

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call `callback` after other prices were read."""
        self._on_change.append(callback)

    def of(self, member: str, gpu_class: GpuClass) -> float | None:
        """Per device and hour; None: not known, or too old."""
        table = self._table
        return table.price(member, gpu_class) if table is not None and table.usable(self._clock()) else None

    def age(self) -> float | None:
        """Seconds since the prices were read; None: there are none."""
        return self._table.age(self._clock()) if self._table is not None else None

    async def fetch(self) -> None:
        """Read the source now; a failure is told once, and the last good prices stay."""
        if not self._source:
            return
        try:
            text = await asyncio.to_thread(_read, self._source)
            table = parse_prices(text, self._clock())
        except (OSError, ValueError, InvalidInput) as error:
            log.warning("prices not read", source=self._source, error=str(error))
            if not self._failed:
                self._journal.event(WARNING, "PricesUnavailable", "hub/prices", f"{self._source}: {error}")
            self._failed = True
            return
        self._failed = False
        changed = self._table is None or self._table.prices != table.prices
        self._table = table
        if changed:
            log.info("prices read", source=self._source, prices=len(table.prices))
            for callback in self._on_change:
                callback()

    async def run(self) -> None:
        """Read again and again, until cancelled."""
        while True:
            await asyncio.sleep(FETCH_SECONDS)
            await self.fetch()


def _read(source: str) -> bytes:
    if not source.startswith(("http://", "https://")):
        with Path(source).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    else:
        request = urllib.request.Request(source, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            data = answer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    return bytes(data)
