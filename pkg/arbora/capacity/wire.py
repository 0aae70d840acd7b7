"""Conversion between sketches and their messages (member.proto). Validates what comes in.

A peer's numbers are checked for shape and for contradictions before anything adds them up: a child that lies
about its own GPUs hurts itself, one that sends a malformed row must not break its parent's sums.
"""

from __future__ import annotations

from arbora.capacity.gpus import HISTOGRAM_BINS, GpuClass
from arbora.capacity.sketch import BEST_SIZES, SketchRow, merge
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb

MAX_NAME = 253
"""Characters in a vendor, product, MIG profile or sharing at most."""
_UINT32, _UINT64 = 2**32 - 1, 2**64 - 1

EFFECT_TO_WIRE = {
    "NoSchedule": pb.TAINT_EFFECT_NO_SCHEDULE,
    "PreferNoSchedule": pb.TAINT_EFFECT_PREFER_NO_SCHEDULE,
    "NoExecute": pb.TAINT_EFFECT_NO_EXECUTE,
}
EFFECT_FROM_WIRE = {number: name for name, number in EFFECT_TO_WIRE.items()}
"""Effects of taints, as Kubernetes names them."""


def class_to_wire(gpu_class: GpuClass) -> pb.GpuClass:
    """The class as a message."""
    return pb.GpuClass(
        vendor=gpu_class.vendor,
        product=gpu_class.product,
        mig_profile=gpu_class.mig_profile,
        sharing=gpu_class.sharing,
    )


def class_from_wire(message: pb.GpuClass, field: str = "gpu_class") -> GpuClass:
    """Raises InvalidInput if vendor or product is missing or anything is too long. No sharing is `exclusive`."""
    for name in ("vendor", "product"):
        if not getattr(message, name):
            raise InvalidInput("is missing", field=f"{field}.{name}")
    for name in ("vendor", "product", "mig_profile", "sharing"):
        if len(getattr(message, name)) > MAX_NAME:
            raise InvalidInput(f"is longer than {MAX_NAME} characters", field=f"{field}.{name}")
    return GpuClass(message.vendor, message.product, message.mig_profile, message.sharing or "exclusive")


def sketch_to_wire(gpu_class: GpuClass, row: SketchRow) -> pb.Sketch:
    """For the record `sketch/<class>`."""
    return pb.Sketch(gpu_class=class_to_wire(gpu_class), rows=[row_to_wire(row)])


def sketch_from_wire(message: pb.Sketch) -> tuple[GpuClass, SketchRow]:
    """The class and the sum over its rows, whatever their labels and taints (`aggregate.from_wire` tells them
    apart). Raises InvalidInput."""
    gpu_class = class_from_wire(message.gpu_class, "sketch.gpu_class")
    rows = [row_from_wire(row, f"sketch.rows[{index}]") for index, row in enumerate(message.rows)]
    return gpu_class, merge(rows)


def row_to_wire(row: SketchRow) -> pb.SketchRow:
    """The counts as a message. What members that lie add up to beyond a field's width is cut there."""
    used = min(row.used, _UINT32)
    return pb.SketchRow(
        members=min(row.members, _UINT32),
        total=min(row.total, _UINT32),
        allocatable=min(row.allocatable, _UINT32),
        used=used,
        free=min(row.free, _UINT32 - used),
        histogram=[min(nodes, _UINT32) for nodes in row.histogram],
        unhealthy=min(row.unhealthy, _UINT32),
        pending=min(row.pending, _UINT32),
        best=row.best,
        free_cpu_millis=min(row.free_cpu_millis, _UINT64),
        free_memory_mib=min(row.free_memory_mib, _UINT64),
        unusable=min(row.unusable, _UINT32),
        degraded=min(row.degraded, _UINT32),
        draining=min(row.draining, _UINT32),
        observed=min(row.observed, _UINT32),
    )


def row_from_wire(message: pb.SketchRow, field: str) -> SketchRow:
    """The counts, checked. Raises InvalidInput with the path of what contradicts itself under `field`."""
    if len(message.histogram) != HISTOGRAM_BINS:
        raise InvalidInput(f"has {len(message.histogram)} bins, not {HISTOGRAM_BINS}", field=f"{field}.histogram")
    if len(message.best) != BEST_SIZES:
        raise InvalidInput(f"has {len(message.best)} sizes, not {BEST_SIZES}", field=f"{field}.best")
    if message.stale:
        if message.free or any(message.histogram) or any(message.best):
            raise InvalidInput("a stale row promises free devices", field=f"{field}.free")
        if message.used > message.allocatable:
            raise InvalidInput("is more than allocatable", field=f"{field}.used")
    elif message.used + message.free != message.allocatable:
        raise InvalidInput("used and free don't add up to allocatable", field=f"{field}.allocatable")
    if message.allocatable > message.total:
        raise InvalidInput("is more than total", field=f"{field}.allocatable")
    return SketchRow(
        members=message.members,
        total=message.total,
        allocatable=message.allocatable,
        used=message.used,
        free=message.free,
        histogram=tuple(message.histogram),
        unhealthy=message.unhealthy,
        pending=message.pending,
        best=tuple(message.best),
        free_cpu_millis=message.free_cpu_millis,
        free_memory_mib=message.free_memory_mib,
        unusable=message.unusable,
        degraded=message.degraded,
        draining=message.draining,
        observed=message.observed,
    )
