"""Workloads at run time: store first, then memory, then what each child is told.

apply -> validate -> decide -> bind -> reserve -> (store) -> assignment/<uid> in the children's desired maps
workload/<uid> from a child -> status -> watchers; a withdrawn part that is gone -> forgotten
a child that joins, leaves or changes -> decide again, for the workloads that could care

Nothing waits between deciding and reserving, so decisions never overlap; what they led to is stored side by side.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace

import structlog

from arbora.capacity.gpus import GpuClass
from arbora.errors import Conflict, StorageFailed
from arbora.manifests.difference import text_difference
from arbora.v1 import workload_pb2 as pb
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.journal import NORMAL, Journal
from arbora_hub.placement.decide import Decision
from arbora_hub.sessions.registry import Sessions
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.store.together import Together
from arbora_hub.workloads.book import Book
from arbora_hub.workloads.caps import Caps
from arbora_hub.workloads.dispatch import Dispatch
from arbora_hub.workloads.gangs import Gangs
from arbora_hub.workloads.keeping import Keeping
from arbora_hub.workloads.labels import check_labels
from arbora_hub.workloads.loading import stored_workloads
from arbora_hub.workloads.places import facts_of
from arbora_hub.workloads.record import (
    Applied,
    Submission,
    WorkloadRecord,
    bound_to,
    following,
    read_submission,
    succeeding,
)
from arbora_hub.workloads.reports import Reports, is_gone, on_its_way
from arbora_hub.workloads.scheduler import Scheduler
from arbora_hub.workloads.spec import check_workload_name
from arbora_hub.workloads.turns import Turns
from arbora_hub.workloads.writing import put_bindings, rows_of

log = structlog.get_logger(__name__)
SAVE_SECONDS = 30.0  # between two savings of reports


class Workloads(Book):
    """All workloads of this hub, by name."""

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        sessions: Sessions,
        journal: Journal,
        clock: Callable[[], float],
        price: Callable[[str, GpuClass], float | None] = lambda child, gpu_class: None,
    ) -> None:
        """clock: wall time in seconds. price: per device and hour of a class in a child, None if not known."""
        super().__init__()
        self._store = store
        self._bindings = Together(store, put_bindings)
        self._inventory = inventory
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._scheduler = Scheduler(price)
        self._facts_of: dict[str, object] = {}
        self._turns = Turns()  # a workload changes once at a time
        self._woken: dict[str, None] = {}
        self._roomier: dict[str, None] = {}  # children whose capacity changed
        self._caps = Caps()
        self._wake = asyncio.Event()
        self._reports = Reports(store, journal)
        self._dispatch = Dispatch(inventory, sessions, journal)
        self._gangs = Gangs(inventory, sessions, self._kept)
        sessions.observe("reservation", self._gangs.observed)
        self.keeping = Keeping(self._scheduler, self._gangs, self._turns, self._decide_fitting, clock)

    async def load(self) -> None:
        """Read everything from the store and tell each child what it is to run."""
        self._by_uid = await stored_workloads(self._store, self._inventory)
        self._by_name = {record.row.name: record for record in self._by_uid.values()}
        self.place_all()
        self._facts_of = {child.name: facts_of(child, self._inventory.inherited) for child in self._inventory}
        for record in self._by_name.values():
            for name, part in record.bound.items():
                self._parts[name] += 1
                self._dispatch.send_to(record, name, part)
            record.decision = self._decide(record)
            # what its child has not reported on may not be among the GPUs that the child reports as used
            added = tuple((name, part.replicas) for name, part in record.bound.items() if on_its_way(part))
            now = self._clock()
            self._scheduler.reserve(record.request(), replace(record.decision, added=added), now)
            self._scheduler.remember(record.request(), record.decision, now)
            self._scheduler.watch(record.request(), record.previous(), now)  # where it is, not where it would be

    def explain(self, record: WorkloadRecord, *, rebalance: bool = False) -> Decision:
        """The decision as it would be taken now, with every child."""
        return self._decide_fitting(record, rebalance=rebalance, everything=True)

    # what clients do

    async def apply(self, name: str, labels: dict[str, str], spec: pb.WorkloadSpec, *, dry_run: bool) -> Applied:
        """Create or change a workload. Durable when it returns, and handed to every session.

        Raises InvalidInput, Conflict, StorageFailed.
        """
        check_workload_name(name)
        check_labels(labels, "metadata.labels")
        submission = read_submission(spec, self._inventory.own_path)
        placement = spec.placement.SerializeToString(deterministic=True)
        packed = pb.WorkloadSpec(
            manifests=submission.manifests, overrides=submission.overrides
        ).SerializeToString(deterministic=True)
        self._dispatch.check_hubs(submission.placement)
        async with self._turns.of(name):
            existing = self._by_name.get(name)
            if existing is not None and existing.row.deleting:
                raise Conflict(
                    f"the workload {name} is being deleted: {existing.sentence()}",
                    hint="Wait until it is gone, or use another name.",
                )
            submission.check_gpus(self._scheduler.classes, existing.submission if existing else None)
            new = WorkloadRow(str(uuid.uuid4()), name, labels, 1, placement, packed, self._clock())
            row, outcome = succeeding(existing.row if existing is not None else None, new)
            record = following(existing, row, submission)
            record.decision = self._decide(record, everything=dry_run)
            # An override that does not fit must fail here, not at a child.
            shares = {
                one: submission.for_member(self._dispatch.facts(one), count)
                for one, count in record.decision.assignments
                if (dry_run or submission.overrides) and not self._dispatch.is_hub(one)
            }
            differences = {}
            if dry_run:
                differences = {one: text_difference(submission.objects, each) for one, each in shares.items()}
            elif outcome != pb.APPLY_OUTCOME_UNCHANGED:
                await self._commit(record)
        return Applied(record, outcome, record.warnings(), differences)

    async def take_over(self, row: WorkloadRow, submission: Submission) -> None:
        """Place what the parent assigned; repeating it changes nothing. Raises StorageFailed."""
        async with self._turns.of(row.name):
            existing = self._by_uid.get(row.uid)
            if existing is not None:
                if existing.row.deleting:
                    return
                row = replace(row, created=existing.row.created)
            else:
                self._scheduler.forget(row.uid)  # room that was kept for it
            record = following(existing, row, submission)
            record.decision = self._decide_fitting(record)
            if existing is None or existing.row != row or record.binding():
                await self._commit(record)

    async def rebalance(self, name: str) -> WorkloadRecord:
        """Divide a workload afresh. Raises NotFound, Conflict, StorageFailed."""
        async with self._turns.of(name):
            record = self.get(name)
            if record.row.deleting:
                raise Conflict(f"the workload {name} is being deleted")
            record.decision = self._decide_fitting(record, rebalance=True)
            await self._commit(record)
        return record

    async def delete(self, name: str, *, orphan: bool, by_parent: bool = False) -> WorkloadRecord:
        """Withdraw a workload from every child; it is forgotten once all have deleted it.

        orphan: forget it now where a child can't be reached. Raises NotFound, StorageFailed.
        """
        async with self._turns.of(name):
            before = self.get(name)
            if before.row.from_parent and not by_parent:
                raise Conflict(f"the hub above assigned {name}", hint="Delete it where it was submitted.")
            bound = {child: replace(part) for child, part in before.bound.items()}
            record = WorkloadRecord(replace(before.row, deleting=True), before.submission, bound, before.decision)
            await self._commit(record)
            if orphan:
                gone = [child for child in record.bound if not self._sessions.connected(child)]
                await self._forget(record, gone)
            elif not record.bound:
                await self._forget(record, ())
        return record

    # what children say

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `workload/<uid>` came in."""
        uid = key.partition("/")[2]
        record = self._by_uid.get(uid)
        if record is None or child.name not in record.bound or value is None:
            return
        news = self._reports.take(record, child, value)
        if news is None:
            return
        self._gangs.forget(uid, child.name)
        if news.arrived:
            self._scheduler.arrived(uid, child.name, self._clock())
            self._wake.set()
        if news.gone or (
            news.short is not None and self._caps.note(record, child.name, news.short, self._clock())
        ):
            self._queue(record.row.name)
        self.changes.notify(record.row.name)

    def child_changed(self, child: Child) -> None:
        """A child joined, left, or changed: decide again where that can matter."""
        self._place(child)
        active, facts = self._inventory.active(child), facts_of(child, self._inventory.inherited)
        same = self._facts_of.pop(child.name, None) == facts and active
        if active:
            self._facts_of[child.name] = facts
        for record in self._by_name.values():
            policy, part = record.submission.policy, record.bound.get(child.name)
            if part is not None and child.liveness is Liveness.ONLINE and on_its_way(part):
                self._scheduler.reserve_again(record.request(), child.name, part.replicas, self._clock())
            if same and part is not None and not record.pending:
                continue  # only its presence changed, and what it has stays: a whole fleet may come back
            if part is not None and record.submission.overrides and active:
                self._dispatch.send(record, child, part)  # they may go by its labels
            if part is not None or child.name in policy.members or policy.selector or policy.groups:
                self._queue(record.row.name)

    def place_all(self) -> None:
        """Take over what is known of every child, prices too; what is placed stays where it is."""
        for child in self._inventory:
            self._place(child)

    def capacity_changed(self, child: Child) -> None:
        """A child's free GPUs changed: whoever waits for such may go there now."""
        self._scheduler.capacity_reported(child, self._clock())
        self._place(child)
        for name in self._caps.lift(child.name):
            self._queue(name)
        self._roomier[child.name] = None
        self._wake.set()

    async def run(self) -> None:
        """Follow changes of children and finish deletions, until cancelled."""
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            with suppress(TimeoutError):
                rest = min(self._scheduler.rest(self._clock()), self._caps.next_moment() - self._clock())
                async with asyncio.timeout(min(SAVE_SECONDS, max(0.0, rest))):
                    await self._wake.wait()
            self._wake.clear()
            leaving = filter(None, map(self._by_uid.get, self._scheduler.leaving(self._clock())))
            moved = (*(one.row.name for one in leaving), *self._caps.due(self._clock()))
            names, self._woken = (*self._woken, *moved), {}
            for name in dict.fromkeys(names):
                await self._settle(name)
            roomier, self._roomier = (*self._roomier, *self._scheduler.due(self._clock())), {}
            for child in filter(None, map(self._inventory.find, dict.fromkeys(roomier))):
                # one at a time, as what one of them takes is gone for the next
                for uid in self._scheduler.woken(child, str(self._inventory.path_of(child)), self._clock()):
                    if (waiting := self._by_uid.get(uid)) is not None:
                        await self._settle(waiting.row.name)
            if loop.time() - saved >= SAVE_SECONDS:
                saved = loop.time()
                await self.save()

    async def save(self) -> None:
        """Save the last known status of assignments that reported something new."""
        await self._reports.save(self._by_uid.get)

    def _queue(self, name: str) -> None:
        self._woken[name] = None
        self._wake.set()

    def _place(self, child: Child) -> None:
        path, active = str(self._inventory.path_of(child)), self._inventory.active(child)
        self._scheduler.place_changed(child, path, self._inventory.inherited, active=active)

    def _decide(self, record: WorkloadRecord, *, rebalance: bool = False, everything: bool = False) -> Decision:
        request = record.request(rebalance=rebalance)
        return self._scheduler.decide(request, record.previous(), self._clock(), everything=everything)

    def _decide_fitting(self, record: WorkloadRecord, **how: bool) -> Decision:
        """Decide without the children that an override does not fit; at apply that is refused instead."""
        record.excluded = {}
        while True:
            decision = self._decide(record, **how)
            unfit = self._dispatch.unfit(record, dict(decision.assignments))
            if not unfit:
                return decision
            record.excluded |= unfit

    async def _settle(self, name: str) -> None:
        """Bring one workload's parts in line with the children as they are now, later if the store fails."""
        try:
            async with self._turns.of(name):
                await self._decide_again(name)
        except StorageFailed as error:
            log.warning("a workload waits for the store", workload=name, error=str(error))
            asyncio.get_running_loop().call_later(1.0, self._queue, name)

    async def _decide_again(self, name: str) -> None:
        record = self._by_name.get(name)
        if record is None:
            return
        gone = [
            child for child, part in record.bound.items() if self._inventory.find(child) is None or is_gone(part)
        ]
        if gone or (record.row.deleting and not record.bound):
            await self._forget(record, gone)
        if record.row.deleting:
            return
        before = record.decision
        for child in self._gangs.waiting(record.row.uid):
            self._scheduler.taken_away(record.row.uid, child)  # what it waits for must not stand in its own way
        record.decision = now = self._decide_fitting(record)
        if before is None or (before.assignments, before.reasons) != (now.assignments, now.reasons):
            self.changes.notify(name)
        if record.binding():
            await self._commit(record)
        else:
            self._scheduler.remember(record.request(), record.decision, self._clock())

    async def _commit(self, record: WorkloadRecord) -> None:
        """Reserve, store a workload and its binding, then take both over and tell the children.

        Must follow its decision without a pause, or two decisions could give away the same GPUs.
        """
        binding, row = record.binding(), record.row
        withheld = self._gangs.withheld(record, binding)
        parts = rows_of(record, binding, withheld)
        decision, request = None if row.deleting else record.decision, record.request()
        if decision is not None:
            self._scheduler.reserve(request, decision, self._clock())
        room = self._scheduler.room
        try:
            await self._bindings.put((row, parts))
        except BaseException:
            if decision is not None:
                self._scheduler.take_back(request, decision)
                self._wake.set()
            raise
        if decision is not None:
            self._scheduler.remember(request, decision, self._clock())
            if decision.pending and self._scheduler.room != room:
                self._queue(row.name)  # what it waits for may have come while it was not known yet
        record.heard_since(self._by_uid.get(row.uid))
        for stored in parts:
            self._parts[stored.child] += stored.child not in record.bound
            record.bound[stored.child] = bound_to(stored, record.bound.get(stored.child))
        self._by_name[row.name] = self._by_uid[row.uid] = record
        for stored in parts:
            if not self._dispatch.send_to(record, stored.child, record.bound[stored.child]):
                self._queue(row.name)  # it left while this was being stored
        if any(map(is_gone, record.bound.values())):
            self._queue(row.name)  # a child was quicker than the store
        self._gangs.ask_all(record, withheld)
        self.changes.notify(row.name)

    def _kept(self, uid: str, child: str, granted: bool) -> None:
        """A child hub was asked to keep room for a gang."""
        if (record := self._by_uid.get(uid)) is not None:
            if not granted:
                self._scheduler.taken_away(uid, child)
                self._caps.note(record, child, 0, self._clock())
            self._queue(record.row.name)

    async def _forget(self, record: WorkloadRecord, children: Iterable[str]) -> None:
        """Drop parts that are gone; with the last part of a deleted workload, the workload."""
        names, row = list(children), record.row
        last = row.deleting and not (record.bound.keys() - set(names))

        async def write(tx: WriteTx) -> None:
            await tx.assignments.delete_many([(row.uid, name) for name in names])
            if last:
                await tx.workloads.delete(row.uid)

        await self._store.write(write)
        for name in names:
            self._parts[name] -= record.bound.pop(name, None) is not None
            self._scheduler.taken_away(row.uid, name)
            self._wake.set()
            self._dispatch.retract(row.uid, name)
        if last:
            self._by_name.pop(row.name, None)
            self._by_uid.pop(row.uid, None)
            self._scheduler.forget(row.uid)
            self._caps.forget(row.uid)
            self._journal.event(NORMAL, "WorkloadDeleted", f"workload/{row.name}", f"{row.name} is gone.")
        self.changes.notify(row.name)
