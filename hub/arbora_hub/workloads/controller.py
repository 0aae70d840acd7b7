"""Workloads at run time: store first, then memory, then what each child is told.

apply -> validate -> decide -> bind -> reserve -> (store) -> assignment/<uid> in the children's desired maps
workload/<uid> from a child -> status -> watchers; a withdrawn part that is gone -> forgotten
a child that joins, leaves or changes -> decide again, for the workloads that could care

Nothing waits between deciding and reserving, so decisions never overlap; what they led to is stored side by side.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import structlog

from arbora.capacity.gpus import GpuClass
from arbora.errors import Conflict, InvalidInput, NotFound, StorageFailed
from arbora.manifests.difference import text_difference
from arbora.manifests.overrides import MemberFacts
from arbora.v1 import workload_pb2 as pb
from arbora.workloads import wire
from arbora_hub.changes import Changes
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.placement.decide import Decision
from arbora_hub.sessions.registry import Sessions
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import AssignmentRow, WorkloadRow
from arbora_hub.store.together import Together
from arbora_hub.workloads.labels import check_labels
from arbora_hub.workloads.record import Applied, Bound, WorkloadRecord, read_submission, restored, succeeding
from arbora_hub.workloads.reports import Reports, is_gone, on_its_way
from arbora_hub.workloads.scheduler import Scheduler, facts_of
from arbora_hub.workloads.spec import check_workload_name
from arbora_hub.workloads.turns import Turns
from arbora_hub.workloads.writing import put_bindings

log = structlog.get_logger(__name__)
SAVE_SECONDS = 30.0  # between two savings of reports


class Workloads:
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
        self._store = store
        self._bindings = Together(store, put_bindings)
        self._inventory = inventory
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._scheduler = Scheduler(price)
        self._by_name: dict[str, WorkloadRecord] = {}
        self._by_uid: dict[str, WorkloadRecord] = {}
        self._facts_of: dict[str, object] = {}
        self._parts: Counter[str] = Counter()  # how many workloads have a part on each child
        self._turns = Turns()  # a workload changes once at a time
        self._woken: dict[str, None] = {}
        self._roomier: dict[str, None] = {}  # children whose capacity changed
        self._wake = asyncio.Event()
        self._reports = Reports(store, journal)
        self.changes = Changes()  # names of workloads that changed in a way that clients can see

    async def load(self) -> None:
        """Read everything from the store and tell each child what it is to run."""

        async def read(tx: ReadTx) -> tuple[list[WorkloadRow], list[AssignmentRow]]:
            return list(await tx.workloads.list()), list(await tx.assignments.list())

        rows, assignments = await self._store.read(read)
        self.place_all()
        self._facts_of = {child.name: facts_of(child) for child in self._inventory}
        for row in rows:
            record = restored(row, self._inventory.own_path)
            self._by_name[row.name] = self._by_uid[row.uid] = record
        for part in assignments:
            owner = self._by_uid.get(part.uid)
            found = self._inventory.find(part.child)
            if owner is None or found is None:
                log.warning("assignment without workload or child", uid=part.uid, child=part.child)
                continue
            bound = Bound(part.generation, part.withdrawn, replicas=part.replicas)
            if part.status:
                bound.status = wire.status_from_wire(pb.AssignmentStatus.FromString(part.status))
            owner.bound[part.child] = bound
            self._parts[part.child] += 1
            self._send(owner, found, bound)
        for record in self._by_name.values():
            record.decision = self._decide(record)
            # what its child has not reported on may not be among the GPUs that the child reports as used
            added = tuple((name, part.replicas) for name, part in record.bound.items() if on_its_way(part))
            now = self._clock()
            self._scheduler.reserve(record.request(), replace(record.decision, added=added), now)
            self._scheduler.remember(record.request(), record.decision, now)
            self._scheduler.watch(record.request(), record.previous(), now)  # where it is, not where it would be

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[WorkloadRecord]:
        return iter(self._by_name.values())

    def get(self, name: str) -> WorkloadRecord:
        """Raises NotFound."""
        record = self._by_name.get(name)
        if record is None:
            raise NotFound(f"there is no workload {name}", hint="See `arbora workloads list` for those that are.")
        return record

    def find(self, name: str) -> WorkloadRecord | None:
        """The workload `name`, if there is one."""
        return self._by_name.get(name)

    def count_on(self, child: str) -> int:
        """Workloads that have a part on a child."""
        return self._parts[child]

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
            bound = {name: replace(part) for name, part in existing.bound.items()} if existing else {}
            record = WorkloadRecord(row, submission, bound)
            record.decision = self._decide(record, everything=dry_run)
            # An override that does not fit must fail here, not at a child.
            given = record.decision.assignments
            shares = {one: submission.for_member(self._facts(one), count) for one, count in given}
            differences = {}
            if dry_run:
                differences = {one: text_difference(submission.objects, each) for one, each in shares.items()}
            elif outcome != pb.APPLY_OUTCOME_UNCHANGED:
                await self._commit(record)
        return Applied(record, outcome, record.warnings(), differences)

    async def rebalance(self, name: str) -> WorkloadRecord:
        """Divide a workload afresh. Raises NotFound, Conflict, StorageFailed."""
        async with self._turns.of(name):
            record = self.get(name)
            if record.row.deleting:
                raise Conflict(f"the workload {name} is being deleted")
            record.decision = self._decide_fitting(record, rebalance=True)
            await self._commit(record)
        return record

    async def delete(self, name: str, *, orphan: bool) -> WorkloadRecord:
        """Withdraw a workload from every child; it is forgotten once all have deleted it.

        orphan: forget it now where a child can't be reached. Raises NotFound, StorageFailed.
        """
        async with self._turns.of(name):
            before = self.get(name)
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
        if news.arrived:
            self._scheduler.arrived(uid, child.name, self._clock())
            self._wake.set()
        if news.gone:
            self._queue(record.row.name)
        self.changes.notify(record.row.name)

    def child_changed(self, child: Child) -> None:
        """A child joined, left, or changed: decide again where that can matter."""
        self._place(child)
        active, facts = self._inventory.active(child), facts_of(child)
        same = self._facts_of.pop(child.name, None) == facts and active
        if active:
            self._facts_of[child.name] = facts
        for record in self._by_name.values():
            policy, part = record.submission.policy, record.bound.get(child.name)
            if same and part is not None and not record.pending:
                continue  # only its presence changed, and what it has stays: a whole fleet may come back
            if part is not None and record.submission.overrides and active:
                self._send(record, child, part)  # they may go by its labels
            if part is not None or child.name in policy.members or policy.selector or policy.groups:
                self._queue(record.row.name)

    def place_all(self) -> None:
        """Take over what is known of every child, prices too; what is placed stays where it is."""
        for child in self._inventory:
            self._place(child)

    def capacity_changed(self, child: Child) -> None:
        """A child's free GPUs changed: whoever waits for such may go there now."""
        self._scheduler.capacity_reported(child)
        self._place(child)
        self._roomier[child.name] = None
        self._wake.set()

    async def run(self) -> None:
        """Follow changes of children and finish deletions, until cancelled."""
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(SAVE_SECONDS, self._scheduler.rest(self._clock()))):
                    await self._wake.wait()
            self._wake.clear()
            leaving = filter(None, map(self._by_uid.get, self._scheduler.leaving(self._clock())))
            names, self._woken = (*self._woken, *(one.row.name for one in leaving)), {}
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
        active = self._inventory.active(child)
        self._scheduler.place_changed(child, str(self._inventory.path_of(child)), active=active)

    def _facts(self, name: str) -> MemberFacts:
        row = self._inventory.row_of(name)
        return MemberFacts(name, self._inventory.own_path.child(name), row.labels if row is not None else {})

    def _decide(self, record: WorkloadRecord, *, rebalance: bool = False, everything: bool = False) -> Decision:
        request = record.request(rebalance=rebalance)
        return self._scheduler.decide(request, record.previous(), self._clock(), everything=everything)

    def _decide_fitting(self, record: WorkloadRecord, **how: bool) -> Decision:
        """Decide without the children that an override does not fit; at apply that is refused instead."""
        record.excluded = {}
        while unfit := record.unfit(decision := self._decide(record, **how), self._facts):
            record.excluded |= unfit
        return decision

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
        counts = dict(record.decision.assignments) if record.decision is not None else {}
        parts = [AssignmentRow(row.uid, name, row.generation, replicas=counts[name]) for name in binding.assign]
        for name in binding.withdraw:
            part = record.bound[name]
            parts.append(AssignmentRow(row.uid, name, part.generation, True, replicas=part.replicas))
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
        for stored in parts:
            before = record.bound.get(stored.child)
            self._parts[stored.child] += before is None
            status = before.status if before is not None else None
            record.bound[stored.child] = Bound(
                stored.generation, stored.withdrawn, status, replicas=stored.replicas
            )
        self._by_name[row.name] = self._by_uid[row.uid] = record
        for stored in parts:
            child = self._inventory.find(stored.child)
            if child is not None:
                self._send(record, child, record.bound[stored.child])
            else:
                self._queue(row.name)  # it left while this was being stored
        self.changes.notify(row.name)

    def _send(self, record: WorkloadRecord, child: Child, part: Bound) -> None:
        try:
            message = record.assignment(part, self._facts(child.name))
        except InvalidInput as error:  # it fitted once, and the child has other labels now
            what = f"{record.row.name} stays as it is on {child.name}: {error}"
            self._journal.event(WARNING, "OverrideUnfit", f"workload/{record.row.name}", what)
        else:
            self._sessions.put(child, f"assignment/{message.uid}", message.SerializeToString(deterministic=True))

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
            child = self._inventory.find(name)
            if child is not None:
                self._sessions.delete(child, f"assignment/{row.uid}")
        if last:
            self._by_name.pop(row.name, None)
            self._by_uid.pop(row.uid, None)
            self._scheduler.forget(row.uid)
            self._journal.event(NORMAL, "WorkloadDeleted", f"workload/{row.name}", f"{row.name} is gone.")
        self.changes.notify(row.name)
