"""GPUs summed up by class, member or node, from what Kubernetes says and what the devices say. Pure.

What Kubernetes says are the sketches; what devices say are their present values or, below a child hub, that hub's
last minute. A child that is not present counts as `lost` and in no other number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow, merge
from arbora.capacity.wire import class_to_wire
from arbora.v1 import gpu_pb2 as pb
from arbora_hub.gpus import rollup
from arbora_hub.gpus.rollup import Rollup
from arbora_hub.inventory.liveness import Liveness

_UINT32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Told:
    """What one child says of its GPUs of one class."""

    name: str
    """The child's path."""
    gpu_class: GpuClass
    liveness: Liveness
    cordoned: bool
    sketch: SketchRow | None
    rollup: Rollup | None
    members: int = 1
    """Agents that it stands for."""


def by_class(told: Iterable[Told]) -> list[pb.GpuSummary]:
    """One row for each class."""
    return _grouped(told, lambda one: str(one.gpu_class), one_class=True)


def by_member(told: Iterable[Told]) -> list[pb.GpuSummary]:
    """One row for each child."""
    return _grouped(told, lambda one: one.name, one_class=False)


def by_node(nodes: Mapping[str, Sequence[tuple[GpuClass, Rollup]]]) -> list[pb.GpuSummary]:
    """One row for each node, by its name: what its devices say, as Kubernetes' counts don't go up by node."""
    rows = []
    for name in sorted(nodes):
        classes = {gpu_class for gpu_class, _ in nodes[name]}
        total = rollup.add(each for _, each in nodes[name])
        row = pb.GpuSummary(name=name, total=total.devices, unhealthy=total.unhealthy, members=1)
        if len(classes) == 1:
            row.gpu_class.CopyFrom(class_to_wire(next(iter(classes))))
        row.rollup.CopyFrom(rollup.row_to_wire(next(iter(sorted(classes))), total))
        rows.append(row)
    return rows


def _grouped(told: Iterable[Told], name_of: Callable[[Told], str], *, one_class: bool) -> list[pb.GpuSummary]:
    groups: defaultdict[str, list[Told]] = defaultdict(list)
    for one in told:
        groups[name_of(one)].append(one)
    return [_summed(name, groups[name], one_class) for name in sorted(groups)]


def _summed(name: str, told: Sequence[Told], one_class: bool) -> pb.GpuSummary:
    present = [one for one in told if one.liveness is not Liveness.LOST]
    sketch = merge(one.sketch for one in present if one.sketch is not None)
    closed = sum(one.sketch.free for one in present if one.cordoned and one.sketch is not None)
    lost = sum(one.sketch.total for one in told if one.liveness is Liveness.LOST and one.sketch is not None)
    row = pb.GpuSummary(
        name=name,
        total=min(sketch.total, _UINT32),
        used=min(sketch.used, _UINT32),
        free=min(sketch.free - closed, _UINT32),
        unhealthy=min(sketch.unhealthy, _UINT32),
        unusable=min(sketch.unusable + sketch.draining + closed, _UINT32),
        pending=min(sketch.pending, _UINT32),
        lost=min(lost, _UINT32),
        members=sum({one.name: one.members for one in told}.values()),
    )
    classes = sorted({one.gpu_class for one in told})
    if one_class or len(classes) == 1:
        row.gpu_class.CopyFrom(class_to_wire(classes[0]))
    measured = [one.rollup for one in present if one.rollup is not None]
    if measured:
        row.rollup.CopyFrom(rollup.row_to_wire(classes[0], rollup.add(measured)))
    return row
