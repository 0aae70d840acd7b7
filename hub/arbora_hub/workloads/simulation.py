"""Where workloads would go in a fleet that is only a file: the hub's own code, without a hub.

For `arbora simulate`. The workloads are placed one after the other, and each takes its room from those after it.
No I/O, no clock: the same files give the same answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbora.capacity.gpus import NodeGpus
from arbora.capacity.sketch import sketch
from arbora.identity.names import Path
from arbora.manifests.difference import text_difference
from arbora.manifests.fleet_document import FleetDocument, FleetMember
from arbora.manifests.overrides import MemberFacts
from arbora.v1 import workload_pb2 as pb
from arbora_hub.api import views
from arbora_hub.placement.decide import decide
from arbora_hub.placement.reservations import Reservations
from arbora_hub.placement.rows import Place, Row, Taint
from arbora_hub.placement.snapshot import Snapshot
from arbora_hub.store.rows import WorkloadRow
from arbora_hub.workloads.record import Submission, WorkloadRecord, read_submission
from arbora_hub.workloads.spec import check_workload_name

ROOT = Path()
FOR_EVER = float("inf")
NOW = 0.0
"""The only moment there is, in seconds."""


def simulate(fleet: FleetDocument, requests: Iterable[pb.ApplyWorkloadRequest]) -> list[pb.ApplyWorkloadResponse]:
    """What a hub with this fleet would answer to a dry run of each request. Raises InvalidInput."""
    members = {member.name: member for member in fleet.members}
    snapshot = Snapshot([(_place(member), _rows(member)) for member in fleet.members])
    reservations = Reservations()
    return [_answer(request, members, snapshot, reservations) for request in requests]


def _answer(
    request: pb.ApplyWorkloadRequest,
    members: dict[str, FleetMember],
    snapshot: Snapshot,
    reservations: Reservations,
) -> pb.ApplyWorkloadResponse:
    name = check_workload_name(request.name)
    submission = read_submission(request.spec, ROOT)
    submission.check_gpus(snapshot.classes)
    # the name stands for the uid, which a file does not have, so that ties fall the same way every time
    row = WorkloadRow(name, name, dict(request.labels), 1, b"", b"", 0.0)
    record = WorkloadRecord(row, submission)
    asked = record.request()
    record.decision = decision = decide(asked, snapshot, {}, reservations, NOW, top=None)
    reservations.hold(asked.uid, asked.demand, decision.added, NOW, ttl=FOR_EVER)
    answer = pb.ApplyWorkloadResponse(
        workload=pb.Workload(name=name, generation=1, message=record.sentence(), pending=decision.pending),
        outcome=pb.APPLY_OUTCOME_CREATED,
        warnings=record.warnings(),
        explanation=views.explanation(decision, submission.shape.reasons, ROOT),
    )
    for child, replicas in decision.assignments:
        answer.workload.assignments.add(path=str(ROOT.child(child)), generation=1, replicas=replicas)
        difference = _difference(submission, members[child], replicas)
        if difference:
            answer.differences[str(ROOT.child(child))] = difference
    return answer


def _difference(submission: Submission, member: FleetMember, replicas: int) -> str:
    facts = MemberFacts(member.name, ROOT.child(member.name), member.labels)
    return text_difference(submission.objects, submission.for_member(facts, replicas))


def _place(member: FleetMember) -> Place:
    return Place(
        name=member.name,
        labels=member.labels,
        path=str(ROOT.child(member.name)),
        # added at the moment of the decision, so whatever tolerates one for a while still may go there
        taints=tuple(Taint(one.key, one.effect, one.value, NOW) for one in member.taints),
        liveness=member.state,
        cordoned=member.cordoned,
        kinds=frozenset(member.kinds) if member.kinds is not None else None,
        claims=member.claims,
        properties=member.properties,
    )


def _rows(member: FleetMember) -> list[Row]:
    rows = []
    for gpus in member.gpus:
        nodes = [
            NodeGpus(f"node-{index}", gpus.gpu_class, devices, devices, used)
            for index, (devices, used) in enumerate(zip(gpus.nodes, gpus.used, strict=True))
        ]
        found = sketch(nodes, {}).get(gpus.gpu_class)
        if found is not None:
            rows.append(Row(gpus.gpu_class, found, cpu_known=False, price=gpus.price))
    return rows
