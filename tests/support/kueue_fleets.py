"""A plain Fleets and WorkerObjects for MultiKueue, and members to put into them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from arbora.capacity.gpus import GpuClass
from arbora.manifests.objects import Manifest
from arbora_hub.kubernetes.multikueue.members import Finding, FleetMember, FleetView, coarse_row
from arbora_hub.placement.rows import Place, Row

T4 = GpuClass("nvidia", "Tesla-T4")
A100 = GpuClass("nvidia", "NVIDIA-A100-SXM4-40GB")


def member(path: str, *gpus: tuple[GpuClass, int, int], rows: Sequence[Row] = (), **place: Any) -> FleetMember:
    """A member with (class, total, free)."""
    made = rows or [coarse_row(each, total, free) for each, total, free in gpus]
    return FleetMember(path, f"uid-{path}", Place(path, path=path, **place), tuple(made))


class PlainFleets:
    """What a test puts in."""

    def __init__(self) -> None:
        self._views: dict[str, FleetView] = {}
        self._callbacks: list[Callable[[str], None]] = []
        self.unpublished: set[str] = set()
        """Paths without a ClusterProfile."""

    def put(self, fleet: str, multikueue: Mapping[str, Any] | None, *members: FleetMember) -> None:
        """A Fleet is now so."""
        self._views[fleet] = FleetView(fleet, multikueue, members)
        self._tell(fleet)

    def drop(self, fleet: str) -> None:
        """A Fleet is gone."""
        del self._views[fleet]
        self._tell(fleet)

    def _tell(self, fleet: str) -> None:
        for callback in self._callbacks:
            callback(fleet)

    # Fleets

    async def settled(self) -> None:
        """At once."""

    def names(self) -> Collection[str]:
        """Those put in."""
        return tuple(self._views)

    def view(self, fleet: str) -> FleetView | None:
        """As put in."""
        return self._views.get(fleet)

    def profile(self, fleet: str, path: str, namespace: str) -> str | None:
        """The path with dashes."""
        return None if path in self.unpublished else path.strip("/").replace("/", "-")

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Hear it."""
        self._callbacks.append(callback)


Bring = Callable[[str, Sequence[Manifest]], Awaitable[None]]


async def nowhere(path: str, manifests: Sequence[Manifest]) -> None:
    """Bring nothing."""


class PlainWorkers:
    """Worker objects by name; `bring` puts them into a member."""

    def __init__(self, bring: Bring = nowhere) -> None:
        self.there: dict[str, tuple[str, str, Sequence[Manifest]]] = {}
        """Name -> Fleet, path, manifests."""
        self._bring = bring

    def of(self, fleet: str) -> Collection[str]:
        """Those of a Fleet."""
        return [name for name, (owner, _path, _manifests) in self.there.items() if owner == fleet]

    async def apply(self, name: str, fleet: str, path: str, manifests: Sequence[Manifest]) -> None:
        """Keep it and bring it."""
        self.there[name] = fleet, path, manifests
        await self._bring(path, manifests)

    async def delete(self, name: str) -> None:
        """Forget it."""
        self.there.pop(name, None)


class Findings(dict[str, Finding]):
    """The last finding of each Fleet."""

    async def say(self, fleet: str, finding: Finding) -> None:
        """Keep it."""
        self[fleet] = finding
