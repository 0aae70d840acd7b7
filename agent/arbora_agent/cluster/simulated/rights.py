"""The port `Rights` on a simulation: objects are there, but nothing enforces what a role allows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from arbora.manifests.objects import Gvk, Manifest, ObjectRef, ref_of
from arbora_agent.cluster.port import ClusterUnavailable
from arbora_agent.cluster.rights import CLUSTER_ROLE_BINDING, GRANT_LEDGER, ROLE_BINDING, Page, Standing
from arbora_agent.cluster.simulated.kinds import NAMESPACE
from arbora_agent.cluster.simulated.simulation import Simulation


class SimulatedRights:
    """On one simulation; namespace: the agent's own, made when the ledger is written first."""

    def __init__(self, simulation: Simulation, namespace: str) -> None:
        self._simulation = simulation
        self._namespace = namespace
        self._ledger = ObjectRef(Gvk("v1", "ConfigMap"), namespace, GRANT_LEDGER)

    async def look(self, ref: ObjectRef) -> Standing | None:
        """The object as it is now. Raises ClusterUnavailable."""
        await self._answer()
        return self._standing(ref)

    async def make(self, manifest: Manifest) -> Standing:
        """Create an object. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        ref = ref_of(manifest)
        if self._standing(ref) is not None:
            raise ClusterUnavailable(f"{ref} already exists")
        self._simulation.create(manifest)
        made = self._standing(ref)
        assert made is not None
        return made

    async def remove(self, ref: ObjectRef, uid: str) -> None:
        """Delete exactly this object. Raises ObjectRejected, ClusterUnavailable."""
        await self._answer()
        self._simulation.delete(ref, uid)

    async def bindings(self, grant: str) -> Mapping[ObjectRef, Standing]:
        """Bindings that carry our label with this value. Raises ClusterUnavailable."""
        await self._answer()
        refs = [self._simulation.ref(key) for key in self._simulation.places()]
        found = {ref: self._standing(ref) for ref in refs if ref.gvk in (ROLE_BINDING, CLUSTER_ROLE_BINDING)}
        return {ref: each for ref, each in found.items() if each is not None and each.grant == grant}

    async def ledger(self) -> Page:
        """The ledger as it is now. Raises ClusterUnavailable."""
        await self._answer()
        return self._page()

    async def write(self, page: Page, changes: Mapping[str, str | None]) -> Page:
        """Change keys of the ledger, if it is still at `page`. Raises ClusterUnavailable."""
        await self._answer()
        if self._page().version != page.version:
            raise ClusterUnavailable(f"{self._ledger} was changed by somebody else", hint="Try again.")
        if page.version:
            self._simulation.change(self._ledger, {"data": dict(changes)})
        else:
            self._create({key: value for key, value in changes.items() if value is not None})
        return self._page()

    def _create(self, data: Mapping[str, str]) -> None:
        home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        if self._standing(ObjectRef(NAMESPACE, "", self._namespace)) is None:
            self._simulation.create(home)
        metadata = {"name": GRANT_LEDGER, "namespace": self._namespace}
        self._simulation.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def _page(self) -> Page:
        kept = self._simulation.read(self._ledger)
        return Page({}, "") if kept is None else Page(kept.get("data") or {}, kept["metadata"]["resourceVersion"])

    def _standing(self, ref: ObjectRef) -> Standing | None:
        body = self._simulation.read(ref)
        return None if body is None else Standing(body["metadata"]["uid"], body)

    async def _answer(self) -> None:
        """As `SimulatedCluster`: a turn of the loop, then the API server's mood."""
        await asyncio.sleep(0)
        self._simulation.check_api()
