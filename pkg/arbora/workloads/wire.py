"""Conversion between workload data and its messages (workload.proto). Validates what comes in."""

from __future__ import annotations

from arbora.errors import InvalidInput
from arbora.identity.names import Path
from arbora.manifests.objects import Gvk, ObjectRef, from_json
from arbora.v1 import workload_pb2 as pb
from arbora.workloads.model import Assignment, AssignmentStatus, ObjectStatus, Placed, PlacedPart, State

MAX_PARTS = 200
"""Parts below a child hub that it names at most."""
MAX_REASONS = 20

STATE_TO_WIRE = {state: pb.WorkloadState.Value(f"WORKLOAD_STATE_{state.name}") for state in State}
"""Each state's number, typed as the generated code wants it."""


def assignment_from_wire(message: pb.Assignment) -> Assignment:
    """Raises InvalidInput."""
    if not message.uid or not message.generation:
        raise InvalidInput("an assignment needs a uid and a generation", field="assignment")
    return Assignment(
        uid=message.uid,
        name=message.name,
        generation=message.generation,
        manifests=tuple(from_json(data, f"manifests[{index}]") for index, data in enumerate(message.manifests)),
        withdrawn=message.withdrawn,
        share=message.share,
    )


def state_from_wire(number: int) -> State:
    """An unknown state (a newer peer's) is PENDING."""
    try:
        return State(number)
    except ValueError:
        return State.PENDING


def status_to_wire(status: AssignmentStatus) -> pb.AssignmentStatus:
    """For the record `workload/<uid>`."""
    return pb.AssignmentStatus(
        uid=status.uid,
        generation=status.generation,
        state=STATE_TO_WIRE[status.state],
        message=status.message,
        objects=[
            pb.ObjectStatus(
                api_version=part.ref.gvk.api_version,
                kind=part.ref.gvk.kind,
                namespace=part.ref.namespace,
                name=part.ref.name,
                state=STATE_TO_WIRE[part.state],
                message=part.message,
            )
            for part in status.objects
        ],
        placed=_placed_to_wire(status.placed) if status.placed is not None else None,
        share=status.share,
    )


def status_from_wire(message: pb.AssignmentStatus) -> AssignmentStatus:
    """Raises InvalidInput."""
    if not message.uid:
        raise InvalidInput("a workload status needs a uid", field="workload")
    return AssignmentStatus(
        uid=message.uid,
        generation=message.generation,
        state=state_from_wire(message.state),
        message=message.message,
        objects=tuple(
            ObjectStatus(
                ref=ObjectRef(Gvk(part.api_version, part.kind), part.namespace, part.name),
                state=state_from_wire(part.state),
                message=part.message,
            )
            for part in message.objects
        ),
        placed=_placed_from_wire(message.placed) if message.HasField("placed") else None,
        share=message.share,
    )


def _placed_to_wire(placed: Placed) -> pb.Placed:
    replicas, copies = placed.budget
    message = pb.Placed(
        replicas=placed.replicas,
        shortfall=placed.shortfall,
        reasons=placed.reasons,
        parts_total=placed.parts_total,
        budget=pb.Budget(replicas=replicas, copies=copies),
    )
    for part in placed.parts:
        message.parts.add(
            path=part.path,
            generation=part.generation,
            stale=part.stale,
            withdrawn=part.withdrawn,
            replicas=part.replicas,
            status=pb.AssignmentStatus(state=STATE_TO_WIRE[part.state], message=part.message),
        )
    return message


def _placed_from_wire(message: pb.Placed) -> Placed:
    return Placed(
        replicas=message.replicas,
        shortfall=message.shortfall,
        budget=(message.budget.replicas, message.budget.copies),
        reasons=tuple(message.reasons[:MAX_REASONS]),
        parts=tuple(
            PlacedPart(
                path=str(Path.parse(part.path)).removeprefix("/"),
                generation=part.generation,
                replicas=part.replicas,
                state=state_from_wire(part.status.state),
                message=part.status.message,
                stale=part.stale,
                withdrawn=part.withdrawn,
            )
            for part in message.parts[:MAX_PARTS]
        ),
        parts_total=message.parts_total,
    )
