"""What the hub above is told of one workload that it assigned. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from arbora.workloads.model import AssignmentStatus, Placed, PlacedPart, State
from arbora.workloads.wire import MAX_PARTS, MAX_REASONS
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.workloads.record import Bound, WorkloadRecord


def summary_of(record: WorkloadRecord, inventory: Inventory) -> AssignmentStatus:
    """Its state rolled up, what of the budget is placed, and where."""
    parts = list(parts_of(record, inventory))
    budget, decision = record.budget, record.decision
    given = [part.replicas for part in record.bound.values() if not part.withdrawn]
    placed = sum(given) if record.submission.divided else max(given, default=0)
    shortfall = max(0, budget.replicas - placed)
    if decision is not None and not record.submission.divided:
        shortfall = min(decision.pending, budget.replicas) if budget.replicas else 0
    return AssignmentStatus(
        uid=record.row.uid,
        generation=record.row.generation,
        state=record.state(),
        message=record.sentence(),
        share=budget.replicas,
        placed=Placed(
            replicas=placed,
            shortfall=shortfall,
            budget=(budget.replicas, budget.copies),
            reasons=decision.reasons[:MAX_REASONS] if decision is not None else (),
            parts=tuple(parts[:MAX_PARTS]),
            parts_total=len(parts),
        ),
    )


def parts_of(record: WorkloadRecord, inventory: Inventory) -> Iterator[PlacedPart]:
    """Where it is below this hub, in the order of paths: members, and what child hubs said of theirs."""
    for name, part in sorted(record.bound.items()):
        child = inventory.find(name)
        stale = child is None or child.connected_at is None or not part.fresh
        below = part.status.placed.parts if part.status is not None and part.status.placed is not None else None
        if below is None:
            yield _part(name, part, stale)
            continue
        for one in below:
            yield PlacedPart(
                path=f"{name}/{one.path}",
                generation=one.generation,
                replicas=one.replicas,
                state=one.state,
                message=one.message,
                stale=one.stale or stale,
                withdrawn=one.withdrawn,
            )


def _part(name: str, part: Bound, stale: bool) -> PlacedPart:
    status = part.status
    known = status is not None and status.generation >= part.generation
    return PlacedPart(
        path=name,
        generation=part.generation,
        replicas=part.replicas,
        state=status.state if known and status is not None else State.PENDING,
        message=status.message if known and status is not None else "",
        stale=stale,
        withdrawn=part.withdrawn,
    )
