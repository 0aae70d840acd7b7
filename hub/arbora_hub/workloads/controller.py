"""Workloads at run time: store first, then memory, then what each child is told.

apply -> validate -> choose -> bind -> (store) -> assignment/<uid> in the children's desired maps
workload/<uid> from a child -> status -> watchers; a withdrawn part that is gone -> forgotten
a child that joins, leaves or changes -> choose again for the workloads that could care
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import Conflict, InvalidInput, NotFound, StorageFailed
from arbora.v1 import workload_pb2 as pb
from arbora.workloads import wire
from arbora.workloads.model import State
from arbora_hub.changes import Changes
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.placement.choose import Candidate, Choice, choose
from arbora_hub.sessions.registry import Sessions
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import AssignmentRow, WorkloadRow
from arbora_hub.workloads.bind import Binding, bind
from arbora_hub.workloads.record import Bound, WorkloadRecord, restored
from arbora_hub.workloads.spec import check_labels, check_workload_name, read_manifests, read_placement

log = structlog.get_logger(__name__)

SAVE_SECONDS = 30.0
"""How often the last known status of assignments is saved."""


class Workloads:
    """All workloads of this hub, by name."""

    def __init__(
        self,
        store: Store,
        inventory: Inventory,
        sessions: Sessions,
        journal: Journal,
        clock: Callable[[], float],
    ) -> None:
        """clock: wall time in seconds."""
        self._store = store
        self._inventory = inventory
        self._sessions = sessions
        self._journal = journal
        self._clock = clock
        self._by_name: dict[str, WorkloadRecord] = {}
        self._by_uid: dict[str, WorkloadRecord] = {}
        self._parts: Counter[str] = Counter()
        """How many workloads have a part on each child."""
        self._writing = asyncio.Lock()
        self._woken: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._unsaved: set[tuple[str, str]] = set()
        self.changes = Changes()
        """Names of workloads that changed in a way that clients can see."""

    async def load(self) -> None:
        """Read everything from the store and tell each child what it is to run."""

        async def read(tx: ReadTx) -> tuple[list[WorkloadRow], list[AssignmentRow]]:
            return list(await tx.workloads.list()), list(await tx.assignments.list())

        rows, assignments = await self._store.read(read)
        for row in rows:
            record = restored(row, self._inventory.own_path)
            self._by_name[row.name] = self._by_uid[row.uid] = record
        for part in assignments:
            owner = self._by_uid.get(part.uid)
            child = self._inventory.find(part.child)
            if owner is None or child is None:
                log.warning("assignment without workload or child", uid=part.uid, child=part.child)
                continue
            bound = Bound(part.generation, part.withdrawn)
            if part.status:
                bound.status = wire.status_from_wire(pb.AssignmentStatus.FromString(part.status))
            owner.bound[part.child] = bound
            self._parts[part.child] += 1
            self._send(owner, child, bound)
        for record in self._by_name.values():
            record.choice = self._choose(record)

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

    # what clients do

    async def apply(
        self, name: str, labels: dict[str, str], spec: pb.WorkloadSpec, *, dry_run: bool
    ) -> tuple[WorkloadRecord, pb.ApplyOutcome.ValueType, list[str]]:
        """Create or change a workload; the record afterwards, what was done, warnings.

        Durable when it returns, and handed to every session. Raises InvalidInput, Conflict, StorageFailed.
        """
        check_workload_name(name)
        check_labels(labels, "metadata.labels")
        wish = read_placement(spec.placement, self._inventory.own_path)
        manifests = read_manifests(list(spec.manifests))
        placement = spec.placement.SerializeToString(deterministic=True)
        packed = pb.WorkloadSpec(manifests=manifests).SerializeToString(deterministic=True)
        async with self._writing:
            existing = self._by_name.get(name)
            if existing is not None and existing.row.deleting:
                raise Conflict(
                    f"the workload {name} is being deleted: {existing.sentence()}",
                    hint="Wait until it is gone, or use another name.",
                )
            if existing is None:
                row = WorkloadRow(
                    uid=str(uuid.uuid4()),
                    name=name,
                    labels=labels,
                    generation=1,
                    placement=placement,
                    manifests=packed,
                    created=self._clock(),
                    deleting=False,
                )
                outcome = pb.APPLY_OUTCOME_CREATED
            elif (existing.row.placement, existing.row.manifests, existing.row.labels) == (
                placement,
                packed,
                labels,
            ):
                row, outcome = existing.row, pb.APPLY_OUTCOME_UNCHANGED
            else:
                changed = existing.row.manifests != packed
                row = replace(
                    existing.row,
                    labels=labels,
                    generation=existing.row.generation + int(changed),
                    placement=placement,
                    manifests=packed,
                )
                outcome = pb.APPLY_OUTCOME_CHANGED
            record = WorkloadRecord(
                row, spec.placement, wish, manifests, dict(existing.bound) if existing is not None else {}
            )
            record.choice = self._choose(record)
            warnings = [f"{member}: {reason}" for member, reason in record.choice.left_out]
            if dry_run or outcome == pb.APPLY_OUTCOME_UNCHANGED:
                return record, outcome, warnings
            await self._commit(record)
        return record, outcome, warnings

    async def delete(self, name: str, *, orphan: bool) -> WorkloadRecord:
        """Withdraw a workload from every child; it is forgotten once all have deleted it.

        orphan: forget it now where a child can't be reached. Raises NotFound, StorageFailed.
        """
        async with self._writing:
            record = self.get(name)
            updated = WorkloadRecord(
                replace(record.row, deleting=True),
                record.placement,
                record.wish,
                record.manifests,
                dict(record.bound),
                record.choice,
            )
            await self._commit(updated)
            if orphan:
                gone = [child for child in updated.bound if not self._sessions.connected(child)]
                await self._forget(updated, gone)
            elif not updated.bound:
                await self._forget(updated, ())
        return updated

    # what children say

    def observed(self, child: Child, key: str, value: bytes | None) -> None:
        """A record `workload/<uid>` came in."""
        uid = key.partition("/")[2]
        record = self._by_uid.get(uid)
        if value is None or record is None or child.name not in record.bound:
            return
        try:
            status = wire.status_from_wire(pb.AssignmentStatus.FromString(value))
        except (DecodeError, InvalidInput):
            self._journal.event(
                WARNING,
                "InvalidRecord",
                f"member/{child.name}",
                f"The record {key[:80]!r} can't be read; it is left out.",
            )
            return
        part = record.bound[child.name]
        before = part.status
        part.status, part.fresh = status, True
        self._unsaved.add((uid, child.name))
        if part.withdrawn and status.state is State.DELETED and status.generation >= part.generation:
            self._queue(record.row.name)
        if status.state is State.DEGRADED and (before is None or before.state is not State.DEGRADED):
            self._journal.event(
                WARNING, "WorkloadDegraded", f"workload/{record.row.name}", f"On {child.name}: {status.message}"
            )
        elif status.state is State.COMPLETE and (before is None or before.state is not State.COMPLETE):
            self._journal.event(
                NORMAL, "WorkloadComplete", f"workload/{record.row.name}", f"Complete on {child.name}."
            )
        self.changes.notify(record.row.name)

    def child_changed(self, child: Child) -> None:
        """A child joined, left, or changed: choose again where that can matter."""
        for record in self._by_name.values():
            if (
                record.wish.selector is not None
                or child.name in record.wish.members
                or child.name in record.bound
            ):
                self._queue(record.row.name)

    async def run(self) -> None:
        """Follow changes of children and finish deletions, until cancelled."""
        loop = asyncio.get_running_loop()
        saved = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SAVE_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            names, self._woken = tuple(self._woken), {}
            for name in names:
                try:
                    async with self._writing:
                        await self._settle(name)
                except StorageFailed as error:
                    log.warning("a workload waits for the store", workload=name, error=str(error))
                    loop.call_later(1.0, self._queue, name)
            if loop.time() - saved >= SAVE_SECONDS:
                saved = loop.time()
                await self.save()

    async def save(self) -> None:
        """Save the last known status of assignments that reported something new."""
        unsaved, self._unsaved = self._unsaved, set()
        statuses: dict[tuple[str, str], bytes] = {}
        for uid, child in unsaved:
            record = self._by_uid.get(uid)
            part = record.bound.get(child) if record is not None else None
            if part is not None and part.status is not None:
                statuses[uid, child] = wire.status_to_wire(part.status).SerializeToString()
        if not statuses:
            return

        async def write(tx: WriteTx) -> None:
            await tx.assignments.save_statuses(statuses)

        try:
            await self._store.write(write)
        except StorageFailed as error:
            log.warning("the workloads' status could not be saved", error=str(error))
            self._unsaved |= unsaved

    # inside

    def _queue(self, name: str) -> None:
        self._woken[name] = None
        self._wake.set()

    async def _settle(self, name: str) -> None:
        """Bring one workload's parts in line with the children as they are now."""
        record = self._by_name.get(name)
        if record is None:
            return
        gone = [
            child
            for child, part in record.bound.items()
            if self._inventory.find(child) is None
            or (
                part.withdrawn
                and part.fresh
                and part.status is not None
                and part.status.state is State.DELETED
                and part.status.generation >= part.generation
            )
        ]
        if gone or (record.row.deleting and not record.bound):
            await self._forget(record, gone)
        record = self._by_name.get(name)
        if record is None:
            return
        choice = self._choose(record)
        if choice != record.choice:
            record.choice = choice
            self.changes.notify(name)
        if self._binding(record):
            await self._commit(record)

    def _choose(self, record: WorkloadRecord) -> Choice:
        present = frozenset(name for name, part in record.bound.items() if not part.withdrawn)
        return choose(record.wish, (_candidate(child) for child in self._inventory), present)

    def _binding(self, record: WorkloadRecord) -> Binding:
        return bind(
            record.choice.chosen,
            record.row.generation,
            {name: (part.generation, part.withdrawn) for name, part in record.bound.items()},
            deleting=record.row.deleting,
        )

    async def _commit(self, record: WorkloadRecord) -> None:
        """Store a workload and its binding, then take both over and tell the children."""
        binding = self._binding(record)
        row = record.row
        parts = [AssignmentRow(row.uid, name, row.generation, False, b"") for name in binding.assign]
        parts += [
            AssignmentRow(row.uid, name, record.bound[name].generation, True, b"") for name in binding.withdraw
        ]

        async def write(tx: WriteTx) -> None:
            await tx.workloads.put(row)
            if parts:
                await tx.assignments.put_many(parts)

        await self._store.write(write)
        for part in parts:
            before = record.bound.get(part.child)
            self._parts[part.child] += before is None
            record.bound[part.child] = Bound(
                part.generation, part.withdrawn, before.status if before is not None else None
            )
        self._by_name[row.name] = self._by_uid[row.uid] = record
        for part in parts:
            child = self._inventory.find(part.child)
            if child is not None:
                self._send(record, child, record.bound[part.child])
        self.changes.notify(row.name)

    def _send(self, record: WorkloadRecord, child: Child, part: Bound) -> None:
        row = record.row
        message = pb.Assignment(
            uid=row.uid,
            name=row.name,
            generation=part.generation,
            manifests=() if part.withdrawn else record.manifests,
            withdrawn=part.withdrawn,
        )
        self._sessions.put(child, f"assignment/{row.uid}", message.SerializeToString(deterministic=True))

    async def _forget(self, record: WorkloadRecord, children: Iterable[str]) -> None:
        """Drop parts that are gone; with the last part of a deleted workload, the workload."""
        names = list(children)
        row = record.row
        last = row.deleting and not (record.bound.keys() - set(names))

        async def write(tx: WriteTx) -> None:
            await tx.assignments.delete_many([(row.uid, name) for name in names])
            if last:
                await tx.workloads.delete(row.uid)

        await self._store.write(write)
        for name in names:
            self._parts[name] -= record.bound.pop(name, None) is not None
            child = self._inventory.find(name)
            if child is not None:
                self._sessions.delete(child, f"assignment/{row.uid}")
        if last:
            self._by_name.pop(row.name, None)
            self._by_uid.pop(row.uid, None)
            self._journal.event(NORMAL, "WorkloadDeleted", f"workload/{row.name}", f"{row.name} is gone.")
        self.changes.notify(row.name)


def _candidate(child: Child) -> Candidate:
    row = child.row
    return Candidate(row.name, row.labels, row.taints, row.cordoned, child.liveness is Liveness.LOST)
