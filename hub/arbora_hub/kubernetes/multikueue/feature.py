"""MultiKueue as a part of the hub's face: waits until Kueue is there, then runs everything of it.

Kueue may be installed at any time after the hub. That it is missing is said once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError
from arbora.kubernetes.api import ApiServer
from arbora.kubernetes.discovery import Discovery
from arbora.kubernetes.failures import ClusterUnavailable
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.multikueue.controller import FleetQueues, Mirrors
from arbora_hub.kubernetes.multikueue.dispatcher import Dispatcher
from arbora_hub.kubernetes.multikueue.kinds import API, WORKLOAD
from arbora_hub.kubernetes.multikueue.members import Finding, Fleets, Say, WorkerObjects
from arbora_hub.kubernetes.multikueue.ownership import ORDER
from arbora_hub.kubernetes.objects import Objects

log = structlog.get_logger(__name__)

LOOK_SECONDS = 30.0
"""Between two looks for Kueue's kinds."""


def mirrors(api: ApiServer) -> Mirrors:
    """What is followed; `MultiKueue` runs them."""
    return {kind: Collection(api, kind) for kind in (*ORDER, WORKLOAD)}


class MultiKueue:
    """Run it; it needs nothing else."""

    def __init__(
        self,
        api: ApiServer,
        fleets: Fleets,
        workers: WorkerObjects,
        say: Say,
        clock: Clock,
        wall: Callable[[], float],
        mirrored: Mirrors | None = None,
    ) -> None:
        """say: puts a finding into a Fleet's conditions. wall: seconds since the epoch. mirrored: from `mirrors`,
        where somebody else looks into them, too."""
        self.served: bool | None = None
        """Whether Kueue's kinds are there; None: not known yet."""
        self._discovery = Discovery(api)
        self._fleets = fleets
        self._say = say
        self._clock = clock
        self._mirrors = mirrors(api) if mirrored is None else mirrored
        objects = Objects(api)
        self._queues = FleetQueues(self._mirrors, objects, fleets, workers, say, clock, wall)
        self._dispatcher = Dispatcher(self._mirrors, objects, fleets, self._queues.overruled, clock, wall)

    async def run(self) -> None:
        """Until cancelled."""
        await self._served()
        async with asyncio.TaskGroup() as tasks:
            for mirror in self._mirrors.values():
                tasks.create_task(mirror.run(), name=f"mirror of {mirror.kind.plural}")
            tasks.create_task(self._queues.run(), name="MultiKueue")
            tasks.create_task(self._dispatcher.run(), name="dispatcher")

    async def _served(self) -> None:
        """Return once all of Kueue's kinds are served."""
        said = False
        while missing := await self._missing():
            if not said:
                said = True
                log.info("no_kueue", why=missing, until="its kinds are installed: then MultiKueue is set up")
                await self._fleets.settled()
                for fleet in self._fleets.names():
                    view = self._fleets.view(fleet)
                    if view is not None and view.multikueue is not None:
                        await self._tell(fleet, missing)
            await self._clock.wait_until(self._clock.monotonic() + LOOK_SECONDS)
        self.served = True

    async def _missing(self) -> str:
        try:
            for kind in (*ORDER, WORKLOAD):
                await self._discovery.resource(kind.gvk)
        except ClusterUnavailable as error:
            return str(error)  # they may be there
        except ArboraError as error:
            self.served = False
            return str(error)
        return ""

    async def _tell(self, fleet: str, missing: str) -> None:
        try:
            await self._say(
                fleet, Finding(False, "KueueMissing", f"{missing}; Kueue that serves {API} is needed")
            )
        except ArboraError as error:
            log.warning("finding_not_written", fleet=fleet, why=str(error))
