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
    return pb.Sketch(gpu_class=class_to_wire(gpu_class), rows=[_row_to_wire(row)])


def sketch_from_wire(message: pb.Sketch) -> tuple[GpuClass, SketchRow]:
    """The class and the sum over its rows (labels of rows are not told apart yet). Raises InvalidInput."""
    gpu_class = class_from_wire(message.gpu_class, "sketch.gpu_class")
    rows = [_row_from_wire(row, f"sketch.rows[{index}]") for index, row in enumerate(message.rows)]
    return gpu_class, merge(rows)


def _row_to_wire(row: SketchRow) -> pb.SketchRow:
    return pb.SketchRow(
        members=row.members,
        total=row.total,
        allocatable=row.allocatable,
        used=row.used,
        free=row.free,
        histogram=row.histogram,
        unhealthy=row.unhealthy,
        pending=row.pending,
        best=row.best,
        free_cpu_millis=row.free_cpu_millis,
        free_memory_mib=row.free_memory_mib,
        unusable=row.unusable,
    )


def _row_from_wire(message: pb.SketchRow, field: str) -> SketchRow:
    if len(message.histogram) != HISTOGRAM_BINS:
        raise InvalidInput(f"has {len(message.histogram)} bins, not {HISTOGRAM_BINS}", field=f"{field}.histogram")
    if len(message.best) != BEST_SIZES:
        raise InvalidInput(f"has {len(message.best)} sizes, not {BEST_SIZES}", field=f"{field}.best")
    if message.used + message.free != message.allocatable:
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
    )
