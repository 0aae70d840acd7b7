"""A member without a hub: a granter on a simulated cluster, whose calls can be made to end it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arbora.clock import ManualClock
from arbora.errors import ArboraError
from arbora.manifests.objects import Gvk, Manifest, ObjectRef
from arbora_agent.allow_grants import GrantPolicy
from arbora_agent.cluster.rights import CLUSTER_ROLE, KINDS, LABEL_GRANT, NAMESPACE, ROLE, Page, Rights, Standing
from arbora_agent.cluster.simulated import SimulatedCluster, Simulation
from arbora_agent.grants import ledger
from arbora_agent.grants.granter import Granter
from arbora_agent.grants.ledger import Ledger
from arbora_agent.grants.model import AskedRole, Grant, Rule

PODS = Rule(("",), ("pods",), ("get", "list"))
JOBS = Rule(("batch",), ("jobs",), ("create", "get"))
CEILING = (PODS, JOBS)


class Crashed(ArboraError):
    """The agent's process ended here."""


class Crashing:
    """The port over another one, which ends at a call: after it was carried out, or before."""

    def __init__(self, inner: Rights) -> None:
        self._inner = inner
        self.calls = 0
        self.at = 0
        """Number of the call, from 1; 0: none."""
        self.done = True
        """Whether that call is still carried out."""

    async def look(self, ref: ObjectRef) -> Standing | None:
        return await self._inner.look(ref)

    async def make(self, manifest: Manifest) -> Standing:
        self._before()
        made = await self._inner.make(manifest)
        self._after()
        return made

    async def remove(self, ref: ObjectRef, uid: str) -> None:
        self._before()
        await self._inner.remove(ref, uid)
        self._after()

    async def bindings(self, grant: str) -> Mapping[ObjectRef, Standing]:
        return await self._inner.bindings(grant)

    async def ledger(self) -> Page:
        return await self._inner.ledger()

    async def write(self, page: Page, changes: Mapping[str, str | None]) -> Page:
        self._before()
        written = await self._inner.write(page, changes)
        self._after()
        return written

    def _before(self) -> None:
        self.calls += 1
        if self.calls == self.at and not self.done:
            raise Crashed("before it was carried out")

    def _after(self) -> None:
        if self.calls == self.at and self.done:
            raise Crashed("after it was carried out")


class Member:
    """The namespace `team` with the role `reader` and an account that was always there; everything is allowed."""

    def __init__(self) -> None:
        self.simulation = Simulation(clock=ManualClock(), wall=lambda: 1_800_000_000.0)
        self.rights = Crashing(SimulatedCluster(self.simulation).rights)
        policy = GrantPolicy.parse(("team/reader", "team/made", "shared/reader"), ("viewer", "made"), "ceiling")
        self.granter = Granter(lambda: self.rights, policy)
        for name in ("team", "shared", "arbora-system"):
            self.add(NAMESPACE, "", name)
            self.add(ROLE, name, "reader", rules=[body_of(PODS)])
        self.add(CLUSTER_ROLE, "", "viewer", rules=[body_of(PODS)])
        self.add(CLUSTER_ROLE, "", "ceiling", rules=[body_of(rule) for rule in CEILING])
        self.add(Gvk("v1", "ServiceAccount"), "team", "theirs")

    def add(self, gvk: Gvk, namespace: str, name: str, **rest: Any) -> str:
        """Somebody makes an object; its uid."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        ref = self.simulation.create(
            {"apiVersion": gvk.api_version, "kind": gvk.kind, "metadata": metadata, **rest}
        )
        return self.uid(ref)

    def uid(self, ref: ObjectRef) -> str:
        """Of an object; empty: it is not there."""
        body = self.simulation.read(ref)
        return "" if body is None else str(body["metadata"]["uid"])

    def objects(self, *, ours: bool) -> set[str]:
        """Of the kinds that grants know, those that carry our label, or those that don't."""
        kinds = {(gvk.group, gvk.kind) for gvk in KINDS}
        found = set()
        for key in self.simulation.places():
            body = self.simulation.get(key)
            if body is not None and (key.group, key.kind) in kinds:
                labelled = LABEL_GRANT in (body["metadata"].get("labels") or {})
                if labelled is ours:
                    found.add(str(self.simulation.ref(key)))
        return found

    async def ledger(self) -> Ledger:
        """What it says now."""
        return ledger.read((await self.rights.ledger()).data)


def grant(id: str, *asked: AskedRole, account: str = "runner", namespace: str = "team") -> Grant:
    roles = tuple(role for role in asked if role.namespace)
    others = tuple(role for role in asked if not role.namespace)
    return Grant(id, namespace, account, roles, others, "access/ana")


def body_of(rule: Rule) -> dict[str, list[str]]:
    return {"apiGroups": list(rule.api_groups), "resources": list(rule.resources), "verbs": list(rule.verbs)}


READER = AskedRole("team", "reader")
VIEWER = AskedRole("", "viewer")
MADE = AskedRole("team", "made", (PODS,))
MADE_EVERYWHERE = AskedRole("", "made", (JOBS,))
EVERYTHING = (READER, MADE, VIEWER, MADE_EVERYWHERE)
