"""The workloads of a hub as its store knows them."""

from __future__ import annotations

import structlog

from arbora.v1 import workload_pb2 as pb
from arbora.workloads import wire
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.store.port import ReadTx, Store
from arbora_hub.store.rows import AssignmentRow, WorkloadRow
from arbora_hub.workloads.record import Bound, WorkloadRecord, restored

log = structlog.get_logger(__name__)


async def stored_workloads(store: Store, inventory: Inventory) -> dict[str, WorkloadRecord]:
    """All of them by uid, with their parts on children that are there. Raises StorageFailed."""

    async def read(tx: ReadTx) -> tuple[list[WorkloadRow], list[AssignmentRow]]:
        return list(await tx.workloads.list()), list(await tx.assignments.list())

    rows, assignments = await store.read(read)
    records = {row.uid: restored(row, inventory.own_path) for row in rows}
    for part in assignments:
        owner = records.get(part.uid)
        if owner is None or inventory.find(part.child) is None:
            log.warning("assignment without workload or child", uid=part.uid, child=part.child)
            continue
        bound = Bound(part.generation, part.withdrawn, replicas=part.replicas, copies=part.copies)
        if part.status:
            bound.status = wire.status_from_wire(pb.AssignmentStatus.FromString(part.status))
        owner.bound[part.child] = bound
    return records
