"""What a decision leaves in the store: the workload, and who is to run how much of it."""

from __future__ import annotations

from collections.abc import Container, Sequence

from arbora_hub.store.port import WriteTx
from arbora_hub.store.rows import AssignmentRow, WorkloadRow
from arbora_hub.workloads.bind import Binding
from arbora_hub.workloads.record import WorkloadRecord

Written = tuple[WorkloadRow, Sequence[AssignmentRow]]
"""One workload and the assignments that change with it."""


async def put_bindings(tx: WriteTx, rows: Sequence[Written]) -> None:
    """Write several, with two statements."""
    await tx.workloads.put_many([workload for workload, _parts in rows])
    await tx.assignments.put_many([part for _workload, parts in rows for part in parts])


def rows_of(record: WorkloadRecord, binding: Binding, withheld: Container[str]) -> list[AssignmentRow]:
    """What changes in the store. withheld: children that are not told yet."""
    row, copies = record.row, record.copies()
    counts = dict(record.decision.assignments) if record.decision is not None else {}
    parts = [
        AssignmentRow(row.uid, name, row.generation, replicas=counts[name], copies=copies.get(name, 0))
        for name in binding.assign
        if name not in withheld
    ]
    for name in binding.withdraw:
        part = record.bound[name]
        parts.append(AssignmentRow(row.uid, name, part.generation, True, replicas=part.replicas))
    return parts
