"""What the hub above assigns: taken over as workloads of this hub, placed within their budget, reported upward.

    assignment/<uid> from the parent -> a workload `<name>.<uid's start>` -> this hub's own controller
    that workload changes            -> workload/<uid> to the parent: what is placed where, the shortfall and why

A withdrawn assignment is deleted below, said to be gone, and only then forgotten by the parent. One that is
not named any more says nothing: deletion is always said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import ArboraError, InvalidInput, NotFound, StorageFailed
from arbora.v1 import workload_pb2 as pb
from arbora.workloads import wire
from arbora.workloads.model import AssignmentStatus, Placed, State
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.record import Submission, read_submission
from arbora_hub.workloads.summary import summary_of

log = structlog.get_logger(__name__)

AT_ONCE = 16
"""Gangs for which room is looked for at a time."""
AGAIN_SECONDS = 1.0
"""After a store that failed."""


class Upward(Protocol):
    """The link to the parent, as far as this module needs it."""

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> None:
        """Set an observed record."""

    def delete(self, key: str) -> None:
        """Delete an observed record."""


class Assigned:
    """The parent's workloads."""

    def __init__(
        self, workloads: Workloads, inventory: Inventory, upward: Upward, clock: Callable[[], float]
    ) -> None:
        """clock: wall time in seconds."""
        self._workloads = workloads
        self._inventory = inventory
        self._upward = upward
        self._clock = clock
        self._wanted: dict[str, pb.Assignment] = {}
        """What the parent says now, by uid."""
        self._queue: dict[str, None] = {}
        self._asked: dict[str, pb.ReservationRequest] = {}
        """Gangs that the parent wants room for."""
        self._asking = asyncio.Event()
        self._wake = asyncio.Event()
        inventory.on_change(self._child_changed)

    def observed(self, key: str, value: bytes | None) -> None:
        """A desired record `assignment/<uid>` came from the parent, or was deleted there."""
        uid = key.partition("/")[2]
        if value is None:
            self._wanted.pop(uid, None)
            if self._workloads.of_uid(uid) is None:
                self._upward.delete(f"workload/{uid}")
            return
        try:
            message = pb.Assignment.FromString(value)
            if message.uid != uid or not message.generation:
                raise InvalidInput("an assignment needs its uid and a generation")
        except (DecodeError, InvalidInput) as error:
            log.warning("the parent's assignment can't be read", uid=uid, error=str(error))
            return
        self._wanted[uid] = message
        self._queue[uid] = None
        self._wake.set()

    def reserving(self, key: str, value: bytes | None) -> None:
        """A desired record `reservation/<uid>` came from the parent, or was deleted there."""
        uid = key.partition("/")[2]
        if value is None:
            self._asked.pop(uid, None)
            if self._workloads.of_uid(uid) is None:
                self._workloads.keeping.release(uid)
            return
        try:
            self._asked[uid] = pb.ReservationRequest.FromString(value)
        except DecodeError:
            log.warning("the parent's reservation can't be read", uid=uid)
        else:
            self._asking.set()

    async def leave(self) -> None:
        """Withdraw everything that the parent before assigned: it is no longer this hub's to run.

        Raises StorageFailed.
        """
        self._wanted.clear()
        self._queue.clear()
        for record in [record for record in self._workloads if record.row.from_parent]:
            if not record.row.deleting:
                await self._workloads.delete(record.row.name, orphan=False, by_parent=True)

    def report_all(self) -> None:
        """Put the state of every workload of the parent, for a link that begins."""
        for record in self._workloads:
            if record.row.from_parent:
                self._report(record.row.name)

    async def run(self) -> None:
        """Follow the parent's assignments and report on them, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="assigned")
            tasks.create_task(self._tell(), name="assigned-reports")
            tasks.create_task(self._keep(), name="assigned-reservations")

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            uids, self._queue = tuple(self._queue), {}
            for uid in uids:
                message = self._wanted.get(uid)
                if message is None:
                    continue
                try:
                    await self._take(message)
                except StorageFailed as error:
                    log.warning("an assignment waits for the store", uid=uid, error=str(error))
                    asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._again, uid)
                except ArboraError as error:
                    self._refuse(message, error)

    def _again(self, uid: str) -> None:
        self._queue[uid] = None
        self._wake.set()

    async def _take(self, message: pb.Assignment) -> None:
        existing = self._workloads.of_uid(message.uid)
        if message.withdrawn:
            if existing is None:
                self._put(AssignmentStatus(message.uid, message.generation, State.DELETED))
            elif not existing.row.deleting:
                await self._workloads.delete(existing.row.name, orphan=False, by_parent=True)
            return
        if existing is not None and existing.row.deleting:
            return  # `_tell` takes it over anew once it is gone
        row, submission = self._read(message)
        await self._workloads.take_over(row, submission)
        self._report(row.name)

    async def _keep(self) -> None:
        """Keep room for gangs, some at a time: one that has to ask a hub below may take a while."""
        turn = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._asking.wait()
                self._asking.clear()
                asked, self._asked = self._asked, {}
                for request in asked.values():
                    await turn.acquire()
                    task = tasks.create_task(self._keep_room(request), name="reservation")
                    task.add_done_callback(lambda _: turn.release())

    async def _keep_room(self, request: pb.ReservationRequest) -> None:
        """Answer with how much of a gang there is room for: all of it or nothing."""
        message, seconds = request.assignment, request.lifetime.ToTimedelta().total_seconds()
        answer = pb.ReservationAnswer(uid=message.uid, generation=message.generation)
        try:
            decision = await self._workloads.keeping.keep(*self._read(message), seconds)
        except ArboraError as error:
            answer.reasons.append(str(error))
        else:
            answer.granted = 0 if decision.pending else message.budget.replicas
            answer.reasons.extend(decision.reasons[: wire.MAX_REASONS])
        self._upward.put(f"reservation/{message.uid}", answer.SerializeToString(), volatile=True)

    def _read(self, message: pb.Assignment) -> tuple[WorkloadRow, Submission]:
        submission = read_submission(message.spec, self._inventory.own_path)
        row = WorkloadRow(
            uid=message.uid,
            name=f"{message.name[:63]}.{message.uid[:8]}",
            labels=dict(message.labels),
            generation=message.generation,
            placement=message.spec.placement.SerializeToString(deterministic=True),
            manifests=pb.WorkloadSpec(
                manifests=submission.manifests, overrides=submission.overrides
            ).SerializeToString(deterministic=True),
            created=self._clock(),
            from_parent=True,
            budget=message.budget.SerializeToString(deterministic=True),
        )
        return row, submission

    def _refuse(self, message: pb.Assignment, error: ArboraError) -> None:
        """It can't be placed as it is: all of it is missing, and why."""
        budget = (message.budget.replicas, message.budget.copies)
        placed = Placed(0, message.budget.replicas, budget, (str(error),))
        self._put(AssignmentStatus(message.uid, message.generation, State.DEGRADED, (), str(error), placed))

    async def _tell(self) -> None:
        uids = {record.row.name: record.row.uid for record in self._workloads if record.row.from_parent}
        with self._workloads.changes.subscribe() as subscription:
            async for names in subscription.batches():
                for name in names:
                    record = self._workloads.find(name)
                    if record is not None and record.row.from_parent:
                        uids[name] = record.row.uid
                        self._report(name)
                    elif record is None and name in uids:
                        self._gone(uids.pop(name))

    def _child_changed(self, child: Child) -> None:
        """It came, left or is not heard of: what the parent is told of its parts is stale now, or no longer."""
        for record in self._workloads:
            if record.row.from_parent and child.name in record.bound:
                self._workloads.changes.notify(record.row.name)

    def _report(self, name: str) -> None:
        try:
            record = self._workloads.get(name)
        except NotFound:
            return
        self._put(summary_of(record, self._inventory))

    def _gone(self, uid: str) -> None:
        """It is deleted everywhere below: say so, or begin anew if the parent wants it again."""
        message = self._wanted.get(uid)
        if message is None:
            self._upward.delete(f"workload/{uid}")
        elif message.withdrawn:
            self._put(AssignmentStatus(uid, message.generation, State.DELETED))
        else:
            self._again(uid)

    def _put(self, status: AssignmentStatus) -> None:
        message = wire.status_to_wire(status)
        self._upward.put(f"workload/{status.uid}", message.SerializeToString(deterministic=True))
