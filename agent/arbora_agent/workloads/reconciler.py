"""Makes the cluster what the assignments say, and reports how that goes: the shell around `progress.py`.

An assignment's way: `desired` keeps its newest generation and queues the workload; a worker takes it, applies
what is due class by class, reports, deletes what left the workload, reports again. From then on a change of
any of its objects (told by the cluster's watches) queues the workload again: the status is looked at anew,
drift is put right, and the report goes out if it differs from the last one.

Rules kept here: one worker at a time per workload; a newer generation ends the work on an older one between two
requests; nothing is concluded before the cluster's caches are filled (an empty cache looks like a deleted
workload); objects of workloads that nobody assigned are named once and never deleted.

Must not: decide what is due or how something is doing (`progress.py`), know the wire or Kubernetes' API.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

import structlog

from arbora.clock import Clock
from arbora.keyed_queue import KeyedQueue
from arbora.manifests.objects import ObjectRef
from arbora.session.backoff import Backoff
from arbora.workloads.model import Assignment, AssignmentStatus, State
from arbora_agent.cluster.port import Cluster, ClusterUnavailable, ObjectRejected, OwnedObject
from arbora_agent.workloads.calls import act_on_each, within_deadline
from arbora_agent.workloads.plan import Item
from arbora_agent.workloads.progress import Due, Progress, by_identity

WORKERS = 8
"""Workloads that are worked on at the same time."""
RETRY_BASE, RETRY_CAP = 0.2, 30.0
"""Seconds of the full-jitter back-off while the API server can't be reached."""
COALESCE = 0.05
"""Seconds between two reports of one generation; its first goes out at once."""

Severity = Literal["normal", "warning"]
Event = Callable[[Severity, str, str, str], None]
"""Severity, reason (one CamelCase word), subject, sentence."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Workload:
    """What is known of one assigned workload."""

    progress: Progress
    problem: str = ""
    """What hinders it just now."""
    backoff: Backoff = field(default_factory=lambda: Backoff(RETRY_BASE, RETRY_CAP))
    reported: AssignmentStatus | None = None
    reported_at: float = 0.0

    @property
    def assignment(self) -> Assignment:
        """The newest generation."""
        return self.progress.assignment


class Reconciler:
    """All workloads of one cluster. `desired` and `absent` may be called at any time, `run` does the work."""

    def __init__(
        self,
        cluster: Cluster,
        report: Callable[[AssignmentStatus], None],
        forget: Callable[[str], None],
        event: Event,
        clock: Clock,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """report: a workload's status changed. forget: drop what was reported of a workload (uid). event:
        something worth knowing happened. chance: uniform in [0, 1), for the back-off. None of them may block."""
        self._cluster = cluster
        self._report = report
        self._forget = forget
        self._event = event
        self._clock = clock
        self._chance = chance
        self._workloads: dict[str, _Workload] = {}
        self._queue = KeyedQueue(clock)
        self._known: frozenset[str] | None = None
        self._orphans: set[str] = set()
        self._synced = False
        cluster.subscribe(on_capacity=lambda: None, on_object=self._on_object)

    def desired(self, assignment: Assignment, last: AssignmentStatus | None = None) -> None:
        """This is to run here now. A repeat is nothing new, and an older generation is ignored.

        last: what was reported of it before a restart, so that a Job that completed and was cleaned up since
        doesn't run again.
        """
        known = self._workloads.get(assignment.uid)
        if known is not None:
            if assignment == known.assignment:
                return
            if assignment.generation < known.assignment.generation:
                log.info("older_generation_ignored", workload=assignment.uid, generation=assignment.generation)
                return
            known.progress = Progress(assignment)
            known.problem = ""
            known.backoff.succeeded()
        else:
            self._workloads[assignment.uid] = _Workload(Progress(assignment, last))
        self._orphans.discard(assignment.uid)
        self._queue.add(assignment.uid)

    def absent(self, known: Collection[str]) -> None:
        """The hub assigns exactly the workloads `known` (uids). Others are forgotten; their objects stay, because
        deletion is always said (`withdrawn`) and never concluded."""
        self._known = frozenset(known)
        for uid in [uid for uid in self._workloads if uid not in self._known]:
            del self._workloads[uid]
            self._queue.discard(uid)
            self._forget(uid)
        self._name_orphans()

    def names(self) -> dict[str, str]:
        """Names of the workloads that are assigned here, by uid."""
        return {uid: workload.assignment.name for uid, workload in self._workloads.items()}

    def states(self) -> list[State]:
        """Of the workloads that are assigned here, as last reported."""
        reported = (workload.reported for workload in self._workloads.values())
        return [State.PENDING if each is None else each.state for each in reported]

    async def run(self) -> None:
        """Work until cancelled. The cluster's `run` must be running as well."""
        await self._cluster.synced()
        self._synced = True
        self._name_orphans()
        for uid in self._workloads:
            self._queue.add(uid)  # what a run that was cancelled left half done
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            for _ in range(WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            uid = await self._queue.take()
            try:
                workload = self._workloads.get(uid)
                if workload is not None:
                    await self._reconcile(uid, workload)
            finally:
                self._queue.done(uid)

    async def _reconcile(self, uid: str, workload: _Workload) -> None:
        """One pass over one workload: do what is due, report, and see to it that somebody looks again in time."""
        progress = workload.progress
        try:
            look_at = await self._converge(uid, workload, progress)
        except ClusterUnavailable as error:
            problem, delay = f"the API server is unavailable: {error}", workload.backoff.next(self._chance())
            log.info("cluster_unavailable", workload=uid, reason=str(error), retry_in=round(delay, 3))
        except Exception as error:
            # one workload that hits a bug must not stop all the others; the log has the trace, the hub the fact
            problem, delay = f"the agent failed: {type(error).__name__}; see its log", RETRY_CAP
            log.exception("reconcile_failed", workload=uid)
        else:
            if self._current(uid, progress):
                workload.problem = ""
                workload.backoff.succeeded()
                if look_at is not None:
                    self._queue.add_at(uid, look_at)
            return
        if self._current(uid, progress):
            workload.problem = problem
            self._tell(uid, workload)
            self._queue.add_at(uid, self._clock.monotonic() + delay)

    async def _converge(self, uid: str, workload: _Workload, progress: Progress) -> float | None:
        """Apply, report, delete, report. Returns when to look again. Raises ClusterUnavailable."""
        due = Due()
        if not progress.assignment.withdrawn:
            due = progress.due(by_identity(self._cluster.owned(uid)), self._clock.monotonic())
            for items in due.apply:
                await self._apply(uid, progress, items, due)
        if not self._current(uid, progress):
            return None
        workload.problem = ""
        self._tell(uid, workload)
        classes = progress.to_delete(self._cluster.owned(uid), self._clock.monotonic())
        for targets in classes:
            await self._delete(uid, progress, targets)
        if classes and self._current(uid, progress):
            self._tell(uid, workload)
        # applying made new moments: a refusal is tried again, a repair has its delay
        moments = [progress.delete_again_at(self._cluster.owned(uid))]
        if not progress.assignment.withdrawn:
            moments.append(progress.due(by_identity(self._cluster.owned(uid)), self._clock.monotonic()).look_at)
        return min((each for each in moments if each is not None), default=None)

    async def _apply(self, uid: str, progress: Progress, items: Sequence[Item], due: Due) -> None:
        """Apply one class of objects. Raises ClusterUnavailable after the others of the class were tried."""
        name, generation = progress.assignment.name, progress.assignment.generation

        async def apply(item: Item) -> None:
            try:
                answer = await within_deadline(
                    self._cluster.apply(item.manifest, workload_uid=uid, generation=generation)
                )
            except ObjectRejected as error:
                message = f"{error}. {error.hint}" if error.hint else str(error)
                if progress.rejected(item, message, self._clock.monotonic()):
                    log.warning("object_rejected", workload=uid, object=str(item.ref), reason=str(error))
                    self._event("warning", "ObjectRejected", f"workload/{name}", f"{item.ref}: {message}")
                return
            except ClusterUnavailable:
                progress.missed(item)
                raise
            repair = due.repairs.get(item.identity)
            progress.applied(item, answer, self._clock.monotonic(), repaired=repair is not None)
            log.debug("object_applied", workload=uid, object=str(answer.ref), generation=generation)
            if repair is not None:
                log.info("drift_repaired", workload=uid, object=str(repair.ref), what=repair.sentence)
                self._event("normal", "DriftRepaired", f"workload/{name}", f"{repair.ref} {repair.sentence}")

        await act_on_each(items, apply, lambda: self._current(uid, progress))

    async def _delete(self, uid: str, progress: Progress, targets: Sequence[OwnedObject]) -> None:
        """Delete one class of objects. Raises ClusterUnavailable after the others of the class were tried."""

        async def delete(target: OwnedObject) -> None:
            refusal = ""
            try:
                await within_deadline(self._cluster.delete(target))
            except ObjectRejected as error:
                refusal = str(error)
            progress.deleting(target, self._clock.monotonic(), refusal)
            log.info("object_deleted", workload=uid, object=str(target.ref), refused=refusal)

        await act_on_each(targets, delete, lambda: self._current(uid, progress))

    def _current(self, uid: str, progress: Progress) -> bool:
        """Whether this is still the generation to work on."""
        workload = self._workloads.get(uid)
        return workload is not None and workload.progress is progress

    def _tell(self, uid: str, workload: _Workload) -> None:
        """Report if there is news: the first of a generation at once, later ones no faster than `COALESCE`."""
        status = workload.progress.status(self._cluster.owned(uid), workload.problem)
        before, now = workload.reported, self._clock.monotonic()
        if status == before:
            return
        first = before is None or before.generation != status.generation
        if not first and now < workload.reported_at + COALESCE:
            self._queue.add_at(uid, workload.reported_at + COALESCE)
            return
        workload.reported, workload.reported_at = status, now
        log.info("workload_status", workload=uid, generation=status.generation, state=status.state.name)
        self._report(status)

    def _on_object(self, ref: ObjectRef, workload_uid: str) -> None:
        if workload_uid in self._workloads:
            self._queue.add(workload_uid)
        else:
            self._name_orphans()

    def _name_orphans(self) -> None:
        """Tell once of each workload that has objects here and that nobody assigned."""
        if self._known is None or not self._synced:
            return
        present = self._cluster.owned_workloads()
        self._orphans &= present
        for uid in sorted(present - self._workloads.keys() - self._orphans):
            self._orphans.add(uid)
            objects = self._cluster.owned(uid)
            names = ", ".join(str(each.ref) for each in objects[:3])
            log.warning("orphaned", workload=uid, objects=len(objects))
            sentence = f"{len(objects)} objects belong to no assigned workload and are left alone: {names}"
            self._event("warning", "Orphaned", f"workload/{uid}", sentence)
