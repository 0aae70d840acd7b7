"""Closes each minute: what the devices of this hub's members did goes into the history, sums go up.

    the minute is over -> every device's minute -> one row for each member in the store, kept for 24 hours
                       -> sums by class, with those of child hubs -> the record `gpu-rollup` for the parent

Minutes are those of this hub's wall clock. A member that is away adds nothing to them. A device that measures
nothing any more, because it fell off the bus, has minutes of its health alone, for as long as it is heard of.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

import structlog

from arbora.capacity.gpus import GpuClass
from arbora.capacity.wire import class_from_wire
from arbora.errors import Conflict, InvalidInput, StorageFailed
from arbora.gpus.health import Health
from arbora_hub.gpus import rollup
from arbora_hub.gpus.classes import class_of
from arbora_hub.gpus.members import ROLLUP, MemberGpus
from arbora_hub.gpus.minute import Minute
from arbora_hub.gpus.packing import pack
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.rows import GpuHistoryRow

log = structlog.get_logger(__name__)

MINUTE = 60.0
KEPT_MINUTES = 24 * 60
TRIM_EVERY = 10
"""Minutes between two removals of old rows."""


class Upward(Protocol):
    """What is needed of the uplink."""

    @property
    def attached(self) -> bool:
        """Whether there is a parent."""

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set a record."""

    def on_parent(self, callback: Callable[[], None]) -> None:
        """Call `callback` when a new parent begins."""


class GpuMinutes:
    """Runs once a minute."""

    def __init__(
        self,
        gpus: MemberGpus,
        inventory: Inventory,
        store: Store,
        uplink: Upward,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """clock: loop time. wall: seconds since the epoch."""
        self._gpus = gpus
        self._inventory = inventory
        self._store = store
        self._uplink = uplink
        self._clock = clock
        self._wall = wall
        self._below: bytes | None = None
        """The sums of the last minute, of no device too; None: no minute has ended yet."""
        uplink.on_parent(self._put)

    async def run(self) -> None:
        """Until cancelled."""
        last = -1
        while True:
            await asyncio.sleep(MINUTE - self._wall() % MINUTE)
            minute = int((self._wall() + 1.0) // MINUTE) - 1
            if minute != last:  # the sleep may end a moment before the minute does
                last = minute
                await self.close(minute)

    async def close(self, minute: int) -> None:
        """Close the minute that began at `minute` * 60 s of the epoch."""
        rows, totals = [], defaultdict[GpuClass, list[Rollup]](list)
        for child in self._inventory:
            if child.row.kind == "hub":
                self._add_below(child, totals)
                continue
            minutes = self._close_member(child, totals)
            if minutes:
                rows.append(GpuHistoryRow(child.name, minute, pack(minutes)))
        summed = [(gpu_class, rollup.add(each)) for gpu_class, each in totals.items()]
        self._below = rollup.to_wire(summed).SerializeToString(deterministic=True)
        self._put()
        await self._keep(rows, minute)

    def _close_member(self, child: Child, totals: defaultdict[GpuClass, list[Rollup]]) -> dict[str, Minute]:
        """Minutes by UUID of those that were measured or are not well; the sums of all go into `totals`."""
        member = self._gpus.member(child.name)
        if member is None:
            return {}
        present = child.liveness is Liveness.ONLINE
        known_classes = classes_of(child)
        now = self._clock()
        found: dict[str, Minute] = {}
        for known in member.nodes.values():
            for device in known.node.devices:
                minute = known.gathered[device.uuid].close(device.health, now)
                unwell = minute.health is not Health.HEALTHY and not known.node.silent
                if minute.known or unwell:
                    found[device.uuid] = minute
                if present:
                    row = rollup.of_minute(device, minute, known.node.silent)
                    totals[class_of(device, known_classes)].append(row)
        return found if present else {}

    def _add_below(self, child: Child, totals: defaultdict[GpuClass, list[Rollup]]) -> None:
        """What a child hub said of the minute before; of one that is not present nothing counts."""
        member = self._gpus.member(child.name)
        if member is None or member.below is None or child.liveness is not Liveness.ONLINE:
            return
        for gpu_class, row in rollup.from_wire(member.below).items():
            totals[gpu_class].append(row)

    def _put(self) -> None:
        if self._uplink.attached and self._below is not None:
            self._uplink.put(ROLLUP, self._below)

    async def _keep(self, rows: list[GpuHistoryRow], minute: int) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.gpu_history.add_many(rows)
            if minute % TRIM_EVERY == 0:
                await tx.gpu_history.trim(minute - KEPT_MINUTES)

        if not rows and minute % TRIM_EVERY:
            return
        try:
            await self._store.write(write)
        except (StorageFailed, Conflict) as error:
            # A minute of history is worth less than going on; the next one is tried anew.
            log.warning("a minute of GPUs was not kept", minute=minute, members=len(rows), error=str(error))


def classes_of(child: Child) -> list[GpuClass]:
    """The classes of a child's sketches; what can't be read is none."""
    found = []
    for sketch in child.sketches.values():
        try:
            found.append(class_from_wire(sketch.gpu_class))
        except InvalidInput:
            continue
    return found
