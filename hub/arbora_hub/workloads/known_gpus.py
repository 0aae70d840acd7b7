"""Has anybody ever shown the GPUs that a workload asks for? Pure.

A product with a typo would wait for ever, so it is refused when it is submitted. Must not ask whether such GPUs
are free, or whether their member is lost: that is for placement to decide, again and again.

Flow: `record.read_submission` -> `Submission.check_gpus` -> the controller decides, or `simulation.py` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from arbora.capacity.gpus import GpuClass
from arbora.capacity.shape import WorkloadShape
from arbora_hub.placement.demand import Demand, GpuWish
from arbora_hub.placement.validate import check_class


def check_gpus(
    shape: WorkloadShape, demand: Demand, known: Iterable[GpuClass | None], accepted: Collection[GpuWish | None]
) -> None:
    """Raise InvalidInput naming the manifest whose pods ask for GPUs of a class that is not known.

    demand: what was read from the shape. known: see `Snapshot.classes`; while there is none, as in a hub without
    members, nothing is refused. accepted: what is not refused, known or not.
    """
    classes = frozenset(each for each in known if each is not None)
    if not classes:
        return
    asked = [
        (index, group) for index, one in zip(shape.indexes, shape.shapes, strict=True) for group in one.groups
    ]
    for (index, written), group in zip(asked, demand.groups, strict=True):
        if group.gpu is None or group.gpu in accepted:
            continue
        # a node label may name a class more exactly than the resource does: a MIG profile by the product
        if classes.isdisjoint(written.classes(group.gpu.resource)):
            check_class(group, classes, f"spec.manifests[{index}]")
