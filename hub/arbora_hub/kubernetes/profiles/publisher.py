"""Writes ClusterProfiles, and deletes those that nothing wants: the rim of this feature.

    a key -> Profiles.wish -> content -> compare with what stands there -> Pacer -> apply, apply /status

Begins once Fleets, profiles and namespaces have been told in full. Each pass compares with the object that is
there, so a hub that starts anew writes nothing that is so already, and what somebody edits or deletes comes back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from arbora.clock import Clock
from arbora.errors import ArboraError
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.kubernetes.collection import Collection, Key
from arbora_hub.kubernetes.conditions import stamp
from arbora_hub.kubernetes.controller import Controller
from arbora_hub.kubernetes.kinds import CLUSTER_PROFILE
from arbora_hub.kubernetes.objects import Objects
from arbora_hub.kubernetes.profiles.comparing import body_differs, health_differs, status_differs
from arbora_hub.kubernetes.profiles.content import (
    MANAGER_LABEL,
    Raw,
    Surroundings,
    body_of,
    is_ours,
    status_of,
    status_of_kept,
)
from arbora_hub.kubernetes.profiles.kept import KeptNames
from arbora_hub.kubernetes.profiles.pacing import GAP_SECONDS, SETTLE_SECONDS, Pacer
from arbora_hub.kubernetes.profiles.profiles import Keep, Profiles, Show

log = structlog.get_logger(__name__)

UNSURE_SECONDS = 5.0
"""How often a profile is looked at again whose member is not known now."""
FACTS_SECONDS = 10.0
"""How long a member that is online is waited for, if it, or the hub that owns it, has said nothing of itself."""
SOON = 0.2
"""Seconds until another look, while this hub's own ports are not open yet."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One profile as it should be."""

    body: Raw | None
    """None: the main resource is left as it is."""
    status: Callable[[Raw], Raw]
    """The status, given the profile that is there."""


class Publisher:
    """Keeps the profiles of this hub."""

    def __init__(
        self,
        objects: Objects,
        profiles: Profiles,
        collections: tuple[Collection, ...],
        around: Callable[[], Surroundings | None],
        kept: KeptNames,
        *,
        clock: Clock,
        wall: Callable[[], float],
        gap: float = GAP_SECONDS,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        """collections: of Fleets, profiles and namespaces. around: None: not known yet. wall: seconds since the
        epoch. gap, settle: see `pacing.py`."""
        self._objects = objects
        self.profiles = profiles
        self._collections = collections
        self._around = around
        self._kept = kept
        self._clock = clock
        self._wall = wall
        self._gap, self._settle = gap, min(settle, gap)
        self._pacers: dict[Key, Pacer] = {}
        self._waiting: dict[Key, float] = {}
        """Since when facts are waited for."""
        self._accepted: dict[Key, tuple[Raw, str]] = {}
        """What was applied, and the resource version that came of it, though it still differs."""
        self._controller = Controller("ClusterProfile", self._pass, clock)
        self._replan = asyncio.Event()
        profiles.on_change(lambda namespace, name: self._controller.add(f"{namespace}/{name}"))
        collections[0].on_change(lambda key: self._replan.set())

    def look_at_all(self) -> None:
        """Something that all profiles have in common changed."""
        for namespace, name in self.profiles.names:
            self._controller.add(f"{namespace}/{name}")

    async def run(self) -> None:
        """Until cancelled."""
        for collection in self._collections:
            await collection.filled.wait()
        self.profiles.begin(await self._kept.load())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._controller.run())
            while True:
                await self._replan.wait()
                self._replan.clear()
                # of many Fleets that change at once, all are read together
                await asyncio.sleep(0)
                self.profiles.fleets_changed()

    async def _pass(self, key: str) -> float | None:
        """One look at a profile."""
        namespace, _, name = key.partition("/")
        try:
            again = await self._reconcile(namespace, name)
        except ArboraError as error:
            self._fail((namespace, name), str(error))
            raise
        self._fail((namespace, name), "")
        return again

    async def _reconcile(self, namespace: str, name: str) -> float | None:
        wish = self.profiles.wish(namespace, name)
        live = self.profiles.live.get(name, namespace)
        around = self._around()
        if wish is None:
            return None
        if around is None:
            return SOON
        now = stamp(self._wall())
        if isinstance(wish, Show):
            wait = self._facts_pending((namespace, name), wish, live)
            if wait > 0:
                return wait
            view, cluster_set = wish.view, wish.cluster_set
            body = body_of(view, name, namespace, around.manager)
            await self._kept.save(self.profiles.names.kept)
            return await self._write(
                namespace,
                name,
                Wanted(body, lambda there: status_of(view, name, cluster_set, around, there, now)),
                live,
            )
        if isinstance(wish, Keep) and live is not None:
            liveness, api_healthy = wish.liveness, wish.api_healthy
            kept = Wanted(None, lambda there: status_of_kept(liveness, api_healthy, there, now))
            wait_or_none = await self._write(namespace, name, kept, live)
            return UNSURE_SECONDS if wait_or_none is None else min(wait_or_none, UNSURE_SECONDS)
        await self._remove(namespace, name, live)
        return None

    async def _write(self, namespace: str, name: str, wanted: Wanted, live: Raw | None) -> float | None:
        """Write what differs if it is time; returns the seconds until it is, None: nothing is left to write."""
        key = (namespace, name)
        pacer = self._pacers.setdefault(key, Pacer(self._gap, self._settle))
        body = wanted.body is not None and (live is None or body_differs(wanted.body, live))
        status = wanted.status(live) if live is not None else None
        there: Raw = (live.get("status") or {}) if live is not None else {}
        differs = status is None or status_differs(status, there)
        if (
            differs
            and not body
            and status is not None
            and live is not None
            and self._is_accepted(key, status, live)
        ):
            differs = False
        urgent = status is None or health_differs(status, there)
        decision = pacer.decide(self._clock.monotonic(), differs=body or differs, urgent=urgent)
        if decision == "nothing":
            return None
        if decision > 0:
            return decision
        if body and wanted.body is not None:
            answer = await self._objects.apply(CLUSTER_PROFILE, wanted.body, manager=self._manager)
            status = wanted.status(answer)
            differs = status_differs(status, answer.get("status") or {})
        if differs and status is not None:
            where = {"metadata": {"name": name, "namespace": namespace}}
            answer = await self._objects.apply(
                CLUSTER_PROFILE, {**where, "status": status}, subresource="status", manager=self._manager
            )
            if status_differs(status, answer.get("status") or {}):
                self._accepted[key] = (status, str(answer["metadata"].get("resourceVersion", "")))
        # What failed does not count: it is tried again with the controller's own pauses.
        pacer.wrote(self._clock.monotonic())
        log.info("profile_written", namespace=namespace, profile=name, urgent=urgent, created=live is None)
        return None

    async def _remove(self, namespace: str, name: str, live: Raw | None) -> None:
        key = (namespace, name)
        if live is not None:
            if not is_ours(live, self.profiles.manager) or not self._labelled(live):
                return
            uid = str(live["metadata"]["uid"])
            await self._objects.delete(CLUSTER_PROFILE, name, namespace, uid=uid)
            log.info("profile_deleted", namespace=namespace, profile=name)
        self.profiles.gone(namespace, name)
        for book in (self._pacers, self._waiting, self._accepted):
            book.pop(key, None)

    def _facts_pending(self, key: Key, wish: Show, live: Raw | None) -> float:
        """How long a member that has just come is waited for, until it has said what its profile shows.

        Else a member that joins would have three states within a second, and the last of them would have to wait.
        """
        view = wish.view
        there = live is not None and bool(live.get("status"))
        joins = view.liveness is Liveness.JOINING and not there
        known = bool(view.digest) and (there or view.facts is not None)
        if not joins and (view.liveness is not Liveness.ONLINE or known):
            self._waiting.pop(key, None)
            return 0.0
        now = self._clock.monotonic()
        return self._waiting.setdefault(key, now) + FACTS_SECONDS - now

    def _is_accepted(self, key: Key, status: Raw, live: Raw) -> bool:
        """Whether the API server keeps something else than what is wanted, such as what another one added."""
        applied = self._accepted.get(key)
        if applied is None:
            return False
        return not status_differs(status, applied[0]) and applied[1] == live["metadata"].get("resourceVersion")

    def _labelled(self, live: Raw) -> bool:
        labels = live["metadata"].get("labels") or {}
        return bool(labels.get(MANAGER_LABEL) == self.profiles.manager)

    def _fail(self, key: Key, why: str) -> None:
        if self.profiles.fail(key, why):
            log.info("profile_standing", namespace=key[0], profile=key[1], why=why or "written")

    @property
    def _manager(self) -> str:
        return field_manager(self.profiles.manager)


def field_manager(manager: str) -> str:
    """Whose fields they are in server-side apply: hubs that publish into one API server differ in that."""
    return f"arbora-hub/{manager}"
