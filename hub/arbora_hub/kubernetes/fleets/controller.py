"""Writes the status of Fleets: the rim of this feature. What stands in it is decided in `status.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from arbora.clock import Clock
from arbora_hub.kubernetes.collection import Collection
from arbora_hub.kubernetes.conditions import by_key, stamp
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.fleets.spec import Fleet, read_fleet
from arbora_hub.kubernetes.fleets.status import CONDITIONS, Standing, status_of
from arbora_hub.kubernetes.kinds import FLEET
from arbora_hub.kubernetes.objects import Objects

GATHER_SECONDS = 1.0
"""What changes meanwhile is written together."""

Raw = Mapping[str, Any]


class Standings(Protocol):
    """Who knows how it stands with Fleets."""

    def standing(self, fleet: Fleet) -> Standing | None:
        """How it stands with one; None: not known yet."""
        ...

    def on_fleet(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with the name of each Fleet whose standing may have changed."""
        ...


class FleetStatus:
    """Keeps the status of every Fleet current."""

    def __init__(
        self,
        objects: Objects,
        fleets: Collection,
        standings: Standings,
        manager: str,
        *,
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        """manager: whose fields they are in server-side apply. wall: seconds since the epoch."""
        self._objects = objects
        self._fleets = fleets
        self._standings = standings
        self._manager = manager
        self._wall = wall
        self._controller = Controller("Fleet", self._pass, clock, workers=1)
        standings.on_fleet(lambda name: self._controller.add_later(name, GATHER_SECONDS))

    async def run(self) -> None:
        """Until cancelled."""
        await self._controller.run()

    async def _pass(self, name: str) -> float | None:
        live = self._fleets.get(name)
        if live is None:
            return None
        fleet = read_fleet(live)
        standing = self._standings.standing(fleet)
        if standing is None:
            return None
        there: Raw = live.get("status") or {}
        status = status_of(fleet, standing, there, stamp(self._wall()))
        if _essence(status) == _essence(there):
            return None
        metadata = {"name": name, "uid": fleet.uid}
        await self._objects.apply(
            FLEET, {"metadata": metadata, "status": status}, subresource="status", manager=self._manager
        )
        # Not before what was written is seen here.
        return GATHER_SECONDS


def _essence(status: Raw) -> object:
    """What is compared: all but times, and what others say in conditions of their own."""
    conditions = by_key(status.get("conditions"), "type")
    kept = [
        {key: value for key, value in one.items() if key != "lastTransitionTime"}
        for kind, one in conditions.items()
        if kind in CONDITIONS
    ]
    return kept, *(status.get(key) for key in ("observedGeneration", "members", "published"))
