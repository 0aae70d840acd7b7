"""Brings members their queues as Arbora workloads of this hub, one per member.

What the agent does for any workload it does for these: apply, repair drift, delete what is withdrawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from arbora.errors import Conflict, NotFound
from arbora.manifests.objects import Manifest, to_json
from arbora.v1 import workload_pb2 as pb
from arbora_hub.kubernetes.multikueue.kinds import FLEET_LABEL
from arbora_hub.kubernetes.multikueue.names import label_value
from arbora_hub.workloads.controller import Workloads

PURPOSE_LABEL, PURPOSE = "arbora.dev/purpose", "multikueue"


class WorkerWorkloads:
    """See WorkerObjects in `members.py`."""

    def __init__(self, workloads: Workloads) -> None:
        self._workloads = workloads

    def of(self, fleet: str) -> Collection[str]:
        """Names of those that there are for a Fleet, without those on their way out."""
        wanted = _labels(fleet).items()
        return [
            record.row.name
            for record in self._workloads
            if wanted <= record.row.labels.items() and not record.row.deleting
        ]

    async def apply(self, name: str, fleet: str, path: str, manifests: Sequence[Manifest]) -> None:
        """Create or change one. Raises Conflict where somebody else has one of that name, StorageFailed."""
        there = self._workloads.find(name)
        if there is not None and not _labels(fleet).items() <= there.row.labels.items():
            raise Conflict(
                f"the workload {name} was not made for the Fleet {fleet}",
                hint="Delete it, or submit it under another name.",
            )
        # It goes with the member and with nothing else: jobs may run there, and a queue that is taken away from
        # under them, say because the member was not heard of for a while, could not admit their like again.
        anything = pb.Toleration(operator="Exists")
        spec = pb.WorkloadSpec(
            placement=pb.Placement(members=[path], tolerations=[anything]),
            manifests=[to_json(one) for one in manifests],
        )
        await self._workloads.apply(name, _labels(fleet), spec, dry_run=False)

    async def delete(self, name: str) -> None:
        """Withdraw one; nothing happens if it is gone. Raises StorageFailed."""
        try:
            await self._workloads.delete(name, orphan=False)
        except NotFound:
            return


def _labels(fleet: str) -> dict[str, str]:
    return {FLEET_LABEL: label_value(fleet), PURPOSE_LABEL: PURPOSE}
