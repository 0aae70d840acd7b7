"""Keeps what Kueue needs for each Fleet: one pass reads the mirrors, plans, and makes the difference true.

    a Fleet, a member, an object of ours or a Workload changed, or it is time -> one pass
    pass: written first, kind by kind; deleted after that, and only if all was written

So a member is out of the config before its MultiKueueCluster, its token and its queues go.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError, InvalidInput
from arbora.kubernetes.discovery import Resource
from arbora.manifests.objects import to_json
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.kinds import AUTH_TOKEN_REQUEST, NAMESPACE
from arbora_hub.kubernetes.multikueue.asking import has_it
from arbora_hub.kubernetes.multikueue.draining import Draining
from arbora_hub.kubernetes.multikueue.kinds import (
    CLUSTER_QUEUE,
    DISPATCHER,
    MULTIKUEUE_CLUSTER,
    MULTIKUEUE_CONFIG,
    SETTINGS_ANNOTATION,
    SHARD_LABEL,
    WORKLOAD,
)
from arbora_hub.kubernetes.multikueue.members import Finding, Fleets, FleetView, Say, WorkerObjects
from arbora_hub.kubernetes.multikueue.names import cluster_name, digest
from arbora_hub.kubernetes.multikueue.ownership import (
    ORDER,
    Change,
    Changes,
    Create,
    Raw,
    changes,
    fleet_of,
    is_ours,
)
from arbora_hub.kubernetes.multikueue.plan import KnownCluster, Plan, Situation, known_cluster, planned
from arbora_hub.kubernetes.multikueue.settings import (
    ARBORA,
    KUEUE,
    MultiKueueSettings,
    check_lasting,
    read_settings,
)
from arbora_hub.kubernetes.objects import Objects

log = structlog.get_logger(__name__)

SOON = 1.0
"""Seconds until a look at what somebody else just made."""
SYSTEM_NAMESPACE = "kube-system"
OWN_SECONDS = 5.0
"""Until it is asked again which cluster this is, while that is not known."""
PACE = 1.0
"""Seconds between two passes over a Fleet at least: free GPUs, which change nothing here, change all the time."""

Mirrors = Mapping[Resource, Collection]


class FleetQueues:
    """The controller. Run it with the mirrors, which hold all kinds of ORDER, and Workloads."""

    def __init__(
        self,
        mirrors: Mirrors,
        objects: Objects,
        fleets: Fleets,
        workers: WorkerObjects,
        say: Say,
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        """wall: seconds since the epoch."""
        self._mirrors = mirrors
        self._objects = objects
        self._fleets = fleets
        self._workers = workers
        self._say = say
        self._clock = clock
        self._wall = wall
        self._next: dict[str, float] = {}
        """Fleet -> the earliest moment of its next pass."""
        self._owners: dict[tuple[Resource, Key], str] = {}
        self._said: dict[str, tuple[str, Finding]] = {}
        """Fleet -> its uid, and what was written into it last."""
        self._brought: dict[str, str] = {}
        """Arbora workload -> digest of what was last applied."""
        self._draining: set[str] = set()
        """Fleets with members that wait for Workloads to end."""
        self._overruled: set[str] = set()
        self._own_uid = ""
        self._own_missed = False
        """Whether it was logged that `own_uid` is not known."""
        self._controller = Controller("MultiKueue", self._pass, clock)
        fleets.on_change(self._controller.add)
        for kind in ORDER:
            mirrors[kind].on_change(lambda key, kind=kind: self._changed(kind, key))  # type: ignore[misc]
        mirrors[WORKLOAD].on_change(lambda key: self._workload_changed())

    async def run(self) -> None:
        """Work until cancelled."""
        for mirror in self._mirrors.values():
            await mirror.synced()
        await self._fleets.settled()
        for fleet in {*self._fleets.names(), *self._owners.values()}:
            self._controller.add(fleet)
        await self._controller.run()

    async def _find_own_uid(self) -> float | None:
        """Learn what identifies this cluster, as its agent would say, too.

        Seconds until it is worth another try; None: it is known.
        """
        if self._own_uid:
            return None
        why = f"there is no namespace {SYSTEM_NAMESPACE}"
        try:
            system = await self._objects.get(NAMESPACE, SYSTEM_NAMESPACE)
        except ArboraError as error:
            system, why = None, str(error)
        if system is not None:
            self._own_uid = str(system["metadata"]["uid"])
            return None
        if not self._own_missed:
            self._own_missed = True
            log.warning("own_cluster_not_known", why=why)
        return OWN_SECONDS

    def overruled(self, fleet: str) -> None:
        """Somebody else than us nominates members for jobs of this Fleet."""
        if fleet not in self._overruled:
            self._overruled.add(fleet)
            self._controller.add(fleet)

    def _changed(self, kind: Resource, key: Key) -> None:
        item = self._mirrors[kind].get(key[1], key[0])
        fleet = fleet_of(item) if item is not None else self._owners.pop((kind, key), "")
        if fleet and item is not None:
            self._owners[kind, key] = fleet
        if fleet:
            self._controller.add(fleet)

    def _workload_changed(self) -> None:
        for fleet in self._draining:
            self._controller.add(fleet)

    async def _pass(self, fleet: str) -> float | None:
        now = self._clock.monotonic()
        if (rest := self._next.get(fleet, now) - now) > 0:
            return rest
        self._next[fleet] = now + PACE
        unknown = await self._find_own_uid()
        view = self._fleets.view(fleet)
        uid = view.uid if view is not None else ""
        try:
            said = self._settings(fleet, view)
        except InvalidInput as error:
            await self._tell(fleet, uid, Finding(False, "InvalidSettings", str(error)))
            return None
        if said is None:
            self._draining.discard(fleet)
            await self._withdraw(fleet, frozenset())
            self._said.pop(fleet, None)
            self._next.pop(fleet, None)
            return None
        plan = planned(self._situation(fleet, view, *said), self._wall())
        if any(isinstance(state, Draining) and state.busy for state in plan.states.values()):
            self._draining.add(fleet)
        else:
            self._draining.discard(fleet)
        due = changes(fleet, plan.wanted, {kind: self._mirrors[kind] for kind in ORDER})
        failures, again = await self._carry_out(fleet, plan, due)
        await self._tell(fleet, uid, self._found(fleet, plan, due, failures))
        if failures:
            raise failures[0]
        return min(filter(None, (plan.again, again, unknown)), default=None)

    def _settings(
        self, fleet: str, view: FleetView | None
    ) -> tuple[MultiKueueSettings, Mapping[str, Any], bool] | None:
        """What the Fleet says, or said while there is something left of it; and whether it has ended."""
        before = self._before(fleet)
        if view is not None and view.multikueue is not None:
            settings = read_settings(fleet, view.multikueue)
            if before is not None:
                check_lasting(before[0], settings)
            return settings, view.multikueue, False
        if not any(is_ours(item, fleet) for kind in ORDER for item in self._mirrors[kind]):
            return None
        settings, written = before or (read_settings(fleet, {}), {})
        return settings, written, True

    def _before(self, fleet: str) -> tuple[MultiKueueSettings, Mapping[str, Any]] | None:
        """By what settings the configs that there are were made."""
        for config in self._ours(MULTIKUEUE_CONFIG, fleet):
            try:
                written = json.loads(config["metadata"]["annotations"].get(SETTINGS_ANNOTATION, "{}"))
                return read_settings(fleet, written), written
            except (ValueError, InvalidInput):
                continue
        return None

    def _situation(
        self,
        fleet: str,
        view: FleetView | None,
        settings: MultiKueueSettings,
        written: Mapping[str, Any],
        ended: bool,
    ) -> Situation:
        members = {one.path: one for one in view.members} if view is not None else {}
        known = self._known(fleet, settings)
        found = {path: self._fleets.profile(fleet, path, settings.namespace) for path in members}
        return Situation(
            fleet,
            settings,
            written,
            ended,
            members,
            known,
            {path: name for path, name in found.items() if name},
            self._busy(fleet, settings, known),
            {
                int(shard): queue["spec"].get("resourceGroups") or ()
                for queue in self._ours(CLUSTER_QUEUE, fleet)
                if (shard := queue["metadata"]["labels"].get(SHARD_LABEL, "")).isdigit()
            },
            self._taken(fleet, settings, members.keys() - known.keys()),
            self._own_uid,
        )

    def _taken(self, fleet: str, settings: MultiKueueSettings, paths: Iterable[str]) -> dict[str, str]:
        found = {}
        for path in paths:
            name = cluster_name(fleet, path)
            for kind, namespace in ((MULTIKUEUE_CLUSTER, ""), (AUTH_TOKEN_REQUEST, settings.namespace)):
                item = self._mirrors[kind].get(name, namespace)
                if item is not None and not is_ours(item, fleet):
                    found[path] = f"{kind.gvk.kind} {name}"
        return found

    def _known(self, fleet: str, settings: MultiKueueSettings) -> dict[str, KnownCluster]:
        known = {}
        for item in self._ours(MULTIKUEUE_CLUSTER, fleet):
            request = self._mirrors[AUTH_TOKEN_REQUEST].get(item["metadata"]["name"], settings.namespace)
            target = ((request or {}).get("spec") or {}).get("targetClusterProfile") or {}
            one = known_cluster(item, str(target.get("name", "")))
            if one is not None:
                known[one.path] = one
        return known

    def _busy(self, fleet: str, settings: MultiKueueSettings, known: Iterable[str]) -> Counter[str]:
        nominated = settings.dispatch.by == ARBORA and fleet not in self._overruled
        having = Counter(
            cluster for item in self._mirrors[WORKLOAD] for cluster in has_it(item, nominated=nominated)
        )
        return Counter({path: having[cluster_name(fleet, path)] for path in known})

    def _ours(self, kind: Resource, fleet: str) -> list[Raw]:
        return [item for item in self._mirrors[kind] if is_ours(item, fleet)]

    async def _carry_out(self, fleet: str, plan: Plan, due: Changes) -> tuple[list[ArboraError], float | None]:
        failures: list[ArboraError] = []
        again: float | None = None
        for one in plan.workers:
            try:
                await self._bring(fleet, one.name, one.path, one.manifests)
            except ArboraError as error:
                failures.append(error)
        refused = False
        for write in due.writes:
            try:
                again = again if await self._write(fleet, write) else SOON
            except ArboraError as error:
                failures.append(error)
                refused = True
        if refused or again is not None:
            return failures, again
        for gone in due.deletions:
            if await self._objects.delete(gone.kind, gone.name, gone.namespace, uid=gone.uid):
                log.info("multikueue_deleted", fleet=fleet, kind=gone.kind.gvk.kind, name=gone.name)
        await self._withdraw(fleet, plan.kept_workers | {one.name for one in plan.workers})
        return failures, again

    async def _write(self, fleet: str, write: Create | Change) -> bool:
        """Whether it is as we want it now."""
        name = write.body["metadata"]["name"]
        match write:
            case Create(kind, body):
                after = await self._objects.create(kind, body)
            case Change(kind, body):
                after = await self._objects.apply(kind, body)
        if after is None:  # somebody made it just now; whose it is will be seen
            return False
        self._mirrors[kind].put(after)
        log.info("multikueue_written", fleet=fleet, kind=kind.gvk.kind, name=name, how=type(write).__name__)
        return True

    async def _bring(self, fleet: str, name: str, path: str, manifests: Iterable[Raw]) -> None:
        wanted = tuple(manifests)
        mark = digest(path, *(to_json(one).decode() for one in wanted))
        if self._brought.get(name) != mark or name not in self._workers.of(fleet):
            await self._workers.apply(name, fleet, path, wanted)
            self._brought[name] = mark

    async def _withdraw(self, fleet: str, kept: frozenset[str] | set[str]) -> None:
        for name in sorted(set(self._workers.of(fleet)) - kept):
            await self._workers.delete(name)
            self._brought.pop(name, None)

    def _found(self, fleet: str, plan: Plan, due: Changes, failures: list[ArboraError]) -> Finding:
        if due.foreign:
            named = ", ".join(due.foreign)
            return Finding(
                False,
                "NameTaken",
                f"not made by this Fleet, and left alone: {named}. Delete it, or name the Fleet's otherwise.",
            )
        if failures:
            return Finding(False, "NotWritten", str(failures[0]))
        if fleet in self._overruled:
            return Finding(
                False,
                "DispatcherNotOurs",
                f"somebody else nominates members: set multiKueue.dispatcherName of Kueue to {DISPATCHER}, "
                f"or dispatch.by of this Fleet to {KUEUE}",
            )
        return plan.finding

    async def _tell(self, fleet: str, uid: str, finding: Finding) -> None:
        if self._said.get(fleet) != (uid, finding):
            await self._say(fleet, finding)
            self._said[fleet] = uid, finding
            log.info("multikueue", fleet=fleet, ready=finding.ready, reason=finding.reason, why=finding.message)
