"""What children report of workloads: taken over, told as events, saved now and then.

Must not decide what follows from a report; it says what the controller may want to know (`News`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from google.protobuf.message import DecodeError

from arbora.errors import InvalidInput, StorageFailed
from arbora.v1 import workload_pb2 as pb
from arbora.workloads import wire
from arbora.workloads.model import State
from arbora_hub.inventory.child import Child
from arbora_hub.journal import NORMAL, WARNING, Journal
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.workloads.record import Bound, WorkloadRecord

log = structlog.get_logger(__name__)

_ON_ITS_WAY = frozenset({State.PENDING, State.APPLIED})
"""States in which a part's pods need not have their GPUs yet."""


@dataclass(frozen=True, slots=True)
class News:
    """What a report means beyond itself."""

    gone: bool
    """The child has deleted what was withdrawn."""
    arrived: bool
    """Its pods have their GPUs: the child's next capacity shows them as used."""
    short: int | None = None
    """Pods that a child hub could place, if its present budget was more than that."""


def is_gone(part: Bound) -> bool:
    """Whether the child has said that it deleted what was withdrawn."""
    return (
        part.withdrawn
        and part.fresh
        and part.status is not None
        and part.status.state is State.DELETED
        and part.status.generation >= part.generation
    )


def on_its_way(part: Bound) -> bool:
    """Whether the pods of a part need not have their GPUs yet, by what the child said."""
    status = part.status
    told = status is not None and status.generation >= part.generation and status.share == part.replicas
    return not part.withdrawn and not (told and status is not None and status.state not in _ON_ITS_WAY)


def _short(part: Bound) -> int | None:
    status = part.status
    if part.withdrawn or status is None or status.placed is None or status.generation != part.generation:
        return None
    if status.placed.budget != (part.replicas, part.copies) or not status.placed.shortfall:
        return None
    return min(status.placed.replicas, part.replicas)


class Reports:
    """Reports of all workloads."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._unsaved: set[tuple[str, str]] = set()

    def take(self, record: WorkloadRecord, child: Child, value: bytes) -> News | None:
        """A record `workload/<uid>` of a child that has a part of the workload; None if it can't be read."""
        try:
            status = wire.status_from_wire(pb.AssignmentStatus.FromString(value))
        except (DecodeError, InvalidInput):
            what = f"The report on {record.row.name} can't be read; it is left out."
            self._journal.event(WARNING, "InvalidRecord", f"member/{child.name}", what)
            return None
        part, name = record.bound[child.name], record.row.name
        before = part.status.state if part.status is not None else None
        part.status, part.fresh = status, True
        self._unsaved.add((record.row.uid, child.name))
        if status.state is State.DEGRADED and before is not State.DEGRADED:
            said = f"On {child.name}: {status.message}"
            self._journal.event(WARNING, "WorkloadDegraded", f"workload/{name}", said)
        elif status.state is State.COMPLETE and before is not State.COMPLETE:
            self._journal.event(NORMAL, "WorkloadComplete", f"workload/{name}", f"Complete on {child.name}.")
        return News(gone=is_gone(part), arrived=not on_its_way(part), short=_short(part))

    async def save(self, find: Callable[[str], WorkloadRecord | None]) -> None:
        """Save the last known status of parts that reported something new. find: a record by uid."""
        unsaved, self._unsaved = self._unsaved, set()
        statuses: dict[tuple[str, str], bytes] = {}
        for uid, child in unsaved:
            record = find(uid)
            part = record.bound.get(child) if record is not None else None
            if part is not None and part.status is not None:
                statuses[uid, child] = wire.status_to_wire(part.status).SerializeToString()
        if not statuses:
            return
        try:
            await self._write(statuses)
        except StorageFailed as error:
            log.warning("the workloads' status could not be saved", error=str(error))
            self._unsaved |= unsaved

    async def _write(self, statuses: Mapping[tuple[str, str], bytes]) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.assignments.save_statuses(statuses)

        await self._store.write(write)
