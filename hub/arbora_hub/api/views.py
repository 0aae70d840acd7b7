"""What clients see: members, workloads, events and tokens as messages."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration

from arbora.capacity.aggregate import NO_GPUS
from arbora.identity.bearer import Role
from arbora.identity.names import Path
from arbora.v1 import access_pb2, event_pb2, member_pb2, workload_pb2
from arbora.workloads.wire import STATE_TO_WIRE, status_to_wire
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.inventory.wire import KIND_TO_WIRE, taint, timestamp
from arbora_hub.placement.decide import Decision
from arbora_hub.placement.rows import PART_MARK
from arbora_hub.store.rows import AccessRow, AuditRow, EventRow, JoinTokenRow
from arbora_hub.workloads.record import WorkloadRecord

LIVENESS_TO_WIRE = {one: member_pb2.Liveness.Value(f"LIVENESS_{one.name}") for one in Liveness}
ROLE_TO_WIRE = {role: access_pb2.Role.Value(f"ROLE_{role.name}") for role in Role}


def duration(seconds: float) -> Duration:
    """Never negative; milliseconds are exact enough."""
    message = Duration()
    message.FromMilliseconds(max(0, int(seconds * 1000)))
    return message


def member(child: Child, inventory: Inventory, *, now: float, wall: float, workloads: int) -> member_pb2.Member:
    """now: loop time; wall: seconds since the epoch; workloads: how many have a part on the child."""
    row = child.row
    view = member_pb2.Member(
        path=str(inventory.path_of(child)),
        kind=KIND_TO_WIRE[row.kind],
        liveness=LIVENESS_TO_WIRE[child.liveness],
        labels=row.labels,
        taints=[taint(one) for one in row.taints],
        cordoned=row.cordoned,
        sketches=[one for one in child.sketches.values() if one.gpu_class.vendor != NO_GPUS.vendor],
        stale=child.connected_at is None or not child.fresh or child.restored,
        session_epoch=row.session_epoch,
        version=row.version,
        certificate_lifetime=duration(row.cert_not_after - wall),
        workloads=workloads,
    )
    if child.heard is not None:
        view.heard_ago.CopyFrom(duration(now - child.heard))
    elif row.last_seen:
        view.heard_ago.CopyFrom(duration(wall - row.last_seen))
    if child.status is not None:
        view.status.CopyFrom(child.status)
    if child.connected_at is not None:
        view.connected_for.CopyFrom(duration(now - child.connected_at))
    return view


def workload(record: WorkloadRecord, inventory: Inventory, *, manifests: bool) -> workload_pb2.Workload:
    """manifests: whether to include them, and the parts below child hubs."""
    row = record.row
    view = workload_pb2.Workload(
        uid=row.uid,
        name=row.name,
        labels=row.labels,
        generation=row.generation,
        spec=workload_pb2.WorkloadSpec(
            placement=record.submission.placement,
            manifests=record.submission.manifests if manifests else (),
            overrides=record.submission.overrides if manifests else b"",
        ),
        state=STATE_TO_WIRE[record.state()],
        message=record.sentence(),
        created=timestamp(row.created),
        deleting=row.deleting,
        pending=record.pending,
        from_parent=row.from_parent,
    )
    for name, part in sorted(record.bound.items()):
        child = inventory.find(name)
        assignment = view.assignments.add(
            path=str(inventory.own_path.child(name)),
            generation=part.generation,
            stale=child is None or child.connected_at is None or not part.fresh,
            withdrawn=part.withdrawn,
            replicas=part.replicas,
        )
        if part.status is not None:
            assignment.status.CopyFrom(status_to_wire(part.status))
            assignment.status.ClearField("placed")
        placed = part.status.placed if part.status is not None and manifests else None
        for below in placed.parts if placed is not None else ():
            view.assignments.add(
                path=f"{inventory.own_path.child(name)}/{below.path}",
                generation=below.generation,
                stale=below.stale or assignment.stale,
                withdrawn=below.withdrawn,
                replicas=below.replicas,
                status=workload_pb2.AssignmentStatus(
                    uid=row.uid,
                    generation=below.generation,
                    state=STATE_TO_WIRE[below.state],
                    message=below.message,
                ),
            )
    return view


def explanation(
    decision: Decision, assumptions: Sequence[str], own_path: Path, *, scores: bool = True
) -> workload_pb2.Explanation:
    """Why a workload goes where it goes. assumptions: about its manifests. scores: whether to include them."""
    told = decision.explanation
    view = workload_pb2.Explanation(
        decision=decision.sentence,
        pending=decision.pending,
        reasons=decision.reasons,
        wake=decision.wake,
        members=told.children,
        counts=dict(told.counts),
        assumptions=assumptions,
    )
    for one in told.scored if scores else ():
        view.scored.add(
            path=place_path(own_path, one.child),
            replicas=one.replicas,
            room=min(one.room, 2**32 - 1),
            total=one.total,
            parts=[
                workload_pb2.ScorePart(name=part.name, weight=part.weight, score=part.score, reason=part.reason)
                for part in one.parts
            ],
        )
    for no in told.rejected:
        view.rejected.add(
            path=place_path(own_path, no.child), filter=no.filter, code=no.code, sentence=no.sentence
        )
    return view


def place_path(own_path: Path, place: str) -> str:
    """A place as a path; of a child hub, with the labels that set the place apart."""
    child, mark, rest = place.partition(PART_MARK)
    return f"{own_path.child(child)}{mark}{rest}"


def event(row: EventRow) -> event_pb2.Event:
    """One event."""
    view = event_pb2.Event(
        id=row.id, time=timestamp(row.time), reason=row.reason, subject=row.subject, message=row.message
    )
    view.severity = row.severity  # type: ignore[assignment]  # enums are plain ints at run time
    return view


def audit(row: AuditRow) -> event_pb2.AuditEntry:
    """One entry of the audit log."""
    return event_pb2.AuditEntry(
        id=row.id,
        time=timestamp(row.time),
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        outcome=row.outcome,
        peer=row.peer,
        detail=row.detail,
    )


def access(row: AccessRow) -> access_pb2.Access:
    """An access without its secret."""
    view = access_pb2.Access(
        name=row.name, role=ROLE_TO_WIRE[Role(row.role)], created=timestamp(row.created), member=row.member
    )
    if row.expires is not None:
        view.expires.CopyFrom(timestamp(row.expires))
    return view


def join_token(row: JoinTokenRow) -> access_pb2.JoinToken:
    """A join token without its secret."""
    return access_pb2.JoinToken(
        id=row.id,
        name=row.name,
        kind=KIND_TO_WIRE[row.kind],
        labels=row.labels,
        expires=timestamp(row.expires),
        uses_left=row.uses_left,
    )
