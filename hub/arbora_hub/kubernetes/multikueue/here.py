"""What MultiKueue asks of the hub, answered by the hub's own parts: Fleets with their members, and findings.

Members are those of the directory, at any depth; of children of this hub the whole capacity is known, of others
sums. A member that is not known now, because a hub on the way is away, is still in its Fleet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from arbora.errors import Unavailable
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.collection import Collection as Mirror
from arbora_hub.kubernetes.conditions import Condition, stamp, written
from arbora_hub.kubernetes.kinds import FLEET
from arbora_hub.kubernetes.members import Members
from arbora_hub.kubernetes.multikueue.kinds import (
    FLEET_ANNOTATION,
    FLEET_LABEL,
    NAMESPACE_ANNOTATION,
    PATH_ANNOTATION,
)
from arbora_hub.kubernetes.multikueue.members import Finding, FleetMember, FleetView, coarse_row
from arbora_hub.kubernetes.multikueue.ownership import fleet_of
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.profiles.profiles import Profiles
from arbora_hub.kubernetes.view import MemberView
from arbora_hub.placement.rows import LOST, ONLINE, SUSPECT, Place, Row, Taint
from arbora_hub.workloads.places import Price, rows_of

CONDITION = "MultiKueueReady"
_LIVENESS = {
    Liveness.ONLINE: ONLINE,
    Liveness.SUSPECT: SUSPECT,
    Liveness.LOST: LOST,
    Liveness.JOINING: SUSPECT,
}


class FleetViews:
    """See `Fleets` in `members.py`."""

    def __init__(
        self,
        fleets: Mirror,
        profiles: Profiles,
        members: Members,
        clusters: Mirror,
        inventory: Inventory,
        price: Price,
    ) -> None:
        """clusters: the MultiKueueClusters that there are, which tell after a restart who was in a Fleet."""
        self._fleets = fleets
        self._profiles = profiles
        self._members = members
        self._clusters = clusters
        self._inventory = inventory
        self._price = price

    async def settled(self) -> None:
        """See `Fleets`."""
        await self._profiles.ready.wait()

    def names(self) -> Collection[str]:
        """See `Fleets`."""
        return [str(one["metadata"]["name"]) for one in self._fleets]

    def view(self, fleet: str) -> FleetView | None:
        """See `Fleets`."""
        body = self._fleets.get(fleet)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return None
        chosen = [one for one in self._members if fleet in self._profiles.selection.fleets_of(one.path)]
        there = {one.path for one in chosen}
        away = [path for path in self._before(fleet) if path not in there and self._is_away(path)]
        members = (*map(self._member, chosen), *map(_away, sorted(away)))
        wanted = (body.get("spec") or {}).get("multiKueue")
        return FleetView(fleet, wanted, members, str(body["metadata"].get("uid", "")))

    def profile(self, fleet: str, path: str, namespace: str) -> str | None:
        """See `Fleets`."""
        name = self._profiles.names.name_of(namespace, path)
        return name if name is not None and self._profiles.path_of(namespace, name) == path else None

    def on_change(self, callback: Callable[[str], None]) -> None:
        """See `Fleets`."""
        self._fleets.on_change(lambda key: callback(key[1]))
        self._profiles.on_fleet(callback)

        def changed(path: str) -> None:
            for fleet in self._profiles.selection.fleets_of(path):
                callback(fleet)

        self._members.on_change(changed)

    def _before(self, fleet: str) -> Iterable[str]:
        """Paths of those that Kueue knows for this Fleet."""
        for one in self._clusters:
            annotations = one["metadata"].get("annotations") or {}
            if annotations.get(FLEET_ANNOTATION) == fleet and annotations.get(PATH_ANNOTATION):
                yield str(annotations[PATH_ANNOTATION])

    def _is_away(self, path: str) -> bool:
        return self._members.get(path) is None and self._members.unsure(path) is not None

    def _member(self, view: MemberView) -> FleetMember:
        child = self._inventory.find(view.relative)
        place = Place(
            name=view.path,
            labels=view.labels,
            path=view.path,
            taints=tuple(Taint(key, effect, value) for key, value, effect in sorted(view.taints)),
            liveness=_LIVENESS[view.liveness],
            age=math.inf if child is not None and child.restored else 0.0,
            cordoned=view.cordoned,
        )
        rows: tuple[Row, ...] = (
            rows_of(child, self._price)
            if child is not None
            else tuple(coarse_row(one.gpu_class, one.total, one.free) for one in view.gpus)
        )
        return FleetMember(view.path, view.cluster_uid, place, rows)


class Retained:
    """Keeps the tokens of members that left their Fleet for as long as Kueue needs them: jobs may run there."""

    def __init__(self, clusters: Mirror, served: Callable[[], bool | None]) -> None:
        """clusters: the MultiKueueClusters that there are. served: whether Kueue is here; None: not known yet."""
        self._clusters = clusters
        self._served = served

    def path(self, request: Mapping[str, Any]) -> str | None:
        """The member that a request was made for by MultiKueue; None: it was not. request: its metadata.

        Only the MultiKueueCluster decides, for its own namespace: who can write one is Kueue's admin here.
        Raises Unavailable while that is not known.
        """
        if FLEET_LABEL not in (request.get("labels") or {}):
            return None
        served = self._served()
        waiting = served and not self._clusters.filled.is_set() and not self._clusters.refused
        if served is None or waiting:
            raise Unavailable("it is not known yet whom Kueue knows")
        cluster = self._clusters.get(str(request["name"]))
        if cluster is None or not fleet_of(cluster):
            return None
        annotations = cluster["metadata"]["annotations"]
        here = annotations.get(NAMESPACE_ANNOTATION) == request["namespace"]
        return str(annotations.get(PATH_ANNOTATION, "")) or None if here else None


class Findings:
    """Puts findings into the conditions of Fleets, under a field manager of their own."""

    def __init__(self, objects: Objects, fleets: Mirror, manager: str, wall: Callable[[], float]) -> None:
        """manager: whose fields they are. wall: seconds since the epoch."""
        self._objects = objects
        self._fleets = fleets
        self._manager = manager
        self._wall = wall

    async def say(self, fleet: str, finding: Finding) -> None:
        """See `Say`. A Fleet that is gone has no conditions."""
        body = self._fleets.get(fleet)
        if body is None:
            return
        status = "True" if finding.ready else "False"
        conditions = written(
            (Condition(CONDITION, status, finding.reason, finding.message),),
            (body.get("status") or {}).get("conditions"),
            int(body["metadata"].get("generation", 0)),
            stamp(self._wall()),
        )
        await self._objects.apply(
            FLEET,
            {
                "metadata": {"name": fleet, "uid": body["metadata"]["uid"]},
                "status": {"conditions": conditions},
            },
            subresource="status",
            manager=f"{self._manager}/multikueue",
        )


def _away(path: str) -> FleetMember:
    """One of whom nothing is known now."""
    return FleetMember(path, "", Place(name=path, path=path, liveness=LOST, age=math.inf))
