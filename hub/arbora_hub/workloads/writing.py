"""What a decision leaves in the store: the workload, and who is to run how much of it."""

from __future__ import annotations

from collections.abc import Sequence

from arbora_hub.store.port import WriteTx
from arbora_hub.store.rows import AssignmentRow, WorkloadRow

Written = tuple[WorkloadRow, Sequence[AssignmentRow]]
"""One workload and the assignments that change with it."""


async def put_bindings(tx: WriteTx, rows: Sequence[Written]) -> None:
    """Write several, with two statements."""
    await tx.workloads.put_many([workload for workload, _parts in rows])
    await tx.assignments.put_many([part for _workload, parts in rows for part in parts])
