"""WorkloadService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from arbora.identity.bearer import Role
from arbora.rpc.guard import Context, caller
from arbora.v1 import workload_pb2 as pb
from arbora.v1 import workload_pb2_grpc
from arbora_hub.api import views
from arbora_hub.api.pages import page
from arbora_hub.inventory.inventory import Inventory
from arbora_hub.placement.decide import Decision
from arbora_hub.unbroken import unbroken
from arbora_hub.workloads.controller import Workloads
from arbora_hub.workloads.record import WorkloadRecord
from arbora_hub.workloads.spec import without_secrets


class WorkloadService(workload_pb2_grpc.WorkloadServiceServicer):
    """Served on the client port."""

    def __init__(self, workloads: Workloads, inventory: Inventory) -> None:
        self._workloads = workloads
        self._inventory = inventory

    async def ApplyWorkload(self, request: pb.ApplyWorkloadRequest, context: Context) -> pb.ApplyWorkloadResponse:
        """See workload.proto."""
        applied = await unbroken(
            self._workloads.apply(request.name, dict(request.labels), request.spec, dry_run=request.dry_run)
        )
        decision = applied.record.decision
        wordy = request.dry_run or applied.record.pending > 0
        return pb.ApplyWorkloadResponse(
            workload=self._view(applied.record, manifests=False),
            outcome=applied.outcome,
            warnings=applied.warnings,
            explanation=self._explained(applied.record, decision, scores=wordy) if decision is not None else None,
            differences={
                str(self._inventory.own_path.child(name)): text
                for name, text in applied.differences.items()
                if text
            },
        )

    async def ExplainWorkload(
        self, request: pb.ExplainWorkloadRequest, context: Context
    ) -> pb.ExplainWorkloadResponse:
        """See workload.proto."""
        record = self._workloads.get(request.name)
        return pb.ExplainWorkloadResponse(explanation=self._explained(record, self._workloads.explain(record)))

    async def RebalanceWorkload(
        self, request: pb.RebalanceWorkloadRequest, context: Context
    ) -> pb.RebalanceWorkloadResponse:
        """See workload.proto."""
        record = self._workloads.get(request.name)
        before = record.previous()
        decision = self._workloads.explain(record, rebalance=True)
        after = dict(decision.assignments)
        if not request.dry_run:
            record = await unbroken(self._workloads.rebalance(request.name))
            after = record.previous()
        return pb.RebalanceWorkloadResponse(
            workload=self._view(record, manifests=False),
            explanation=self._explained(record, decision),
            moves=[
                pb.MemberMove(
                    path=str(self._inventory.own_path.child(name)), before=before.get(name), after=after.get(name)
                )
                for name in sorted({*before, *after})
                if before.get(name) != after.get(name)
            ],
        )

    async def ListWorkloads(self, request: pb.ListWorkloadsRequest, context: Context) -> pb.ListWorkloadsResponse:
        """See workload.proto."""
        records = sorted(self._workloads, key=lambda record: record.row.name)
        chosen, token = page(records, lambda record: record.row.name, request.page_size, request.page_token, 200)
        return pb.ListWorkloadsResponse(
            workloads=[self._view(record, manifests=False) for record in chosen], next_page_token=token
        )

    async def GetWorkload(self, request: pb.GetWorkloadRequest, context: Context) -> pb.GetWorkloadResponse:
        """See workload.proto."""
        view = self._view(self._workloads.get(request.name), manifests=True)
        role = caller.get().role
        if role is None or not role.allows(Role.OPERATOR):
            for index, manifest in enumerate(view.spec.manifests):
                view.spec.manifests[index] = without_secrets(manifest)
        return pb.GetWorkloadResponse(workload=view)

    async def DeleteWorkload(
        self, request: pb.DeleteWorkloadRequest, context: Context
    ) -> pb.DeleteWorkloadResponse:
        """See workload.proto."""
        record = await unbroken(self._workloads.delete(request.name, orphan=request.orphan))
        return pb.DeleteWorkloadResponse(workload=self._view(record, manifests=False))

    async def WatchWorkloads(
        self, request: pb.WatchWorkloadsRequest, context: Context
    ) -> AsyncIterator[pb.WatchWorkloadsResponse]:
        """See workload.proto."""
        uids: dict[str, str] = {}
        with self._workloads.changes.subscribe() as subscription:
            for record in list(self._workloads):
                if request.name in ("", record.row.name):
                    uids[record.row.name] = record.row.uid
                    yield pb.WatchWorkloadsResponse(workload=self._view(record, manifests=False))
            yield pb.WatchWorkloadsResponse(synced=True)
            async for names in subscription.batches():
                for name in names:
                    if request.name not in ("", name):
                        continue
                    found = self._workloads.find(name)
                    if found is not None:
                        uids[name] = found.row.uid
                        yield pb.WatchWorkloadsResponse(workload=self._view(found, manifests=False))
                    elif name in uids:
                        gone = pb.Workload(name=name, uid=uids.pop(name))
                        yield pb.WatchWorkloadsResponse(workload=gone, gone=True)

    def _explained(self, record: WorkloadRecord, decision: Decision, *, scores: bool = True) -> pb.Explanation:
        own_path = self._inventory.own_path
        return views.explanation(decision, record.submission.shape.reasons, own_path, scores=scores)

    def _view(self, record: WorkloadRecord, *, manifests: bool) -> pb.Workload:
        return views.workload(record, self._inventory, manifests=manifests)
