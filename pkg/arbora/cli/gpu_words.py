"""How the command line puts GPUs into words: health, use, holders, and what was measured. Pure.

A number that a device doesn't offer is `-`, which is not the same as 0. What was said last and may not be so any
more, since its node's agent or its member is not heard of, has a `?`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from arbora.capacity.gpus import GpuClass
from arbora.cli.plain import enum_word
from arbora.v1 import gpu_pb2 as pb
from arbora.v1 import member_pb2

NONE = "-"
_GOOD, _FAIR, _LEAVING, _BAD, _DIM = "green", "yellow", "magenta", "red", "dim"
_HEALTH: dict[int, str] = {
    pb.GPU_HEALTH_HEALTHY: _GOOD,
    pb.GPU_HEALTH_DEGRADED: _FAIR,
    pb.GPU_HEALTH_RECOVERING: _FAIR,
    pb.GPU_HEALTH_DRAINING: _LEAVING,
    pb.GPU_HEALTH_UNHEALTHY: _BAD,
}
_USE: dict[int, str] = {pb.GPU_USE_IDLE: _FAIR, pb.GPU_USE_LEAKED: _BAD}
_COUNTED = (
    ("unhealthy", _BAD),
    ("draining", _LEAVING),
    ("recovering", _FAIR),
    ("degraded", _FAIR),
    ("silent", _DIM),
)
"""Fields of a roll-up that are told, the worst first."""
_THROTTLE = (
    (0x2, "clock set by an application"),
    (0x4, "power limit"),
    (0x8, "hardware slowdown"),
    (0x10, "synchronised boost"),
    (0x20, "heat, by the driver"),
    (0x40, "heat, by the hardware"),
    (0x80, "power brake"),
    (0x100, "clock set for a display"),
)
"""nvmlClocksEventReasons without idleness."""


def health(number: int) -> str:
    """`Healthy`; `-` if nobody judged it."""
    return enum_word(pb.GpuHealth.DESCRIPTOR, number) if number else NONE


def health_style(number: int) -> str:
    """The colour of a health."""
    return _HEALTH.get(number, _DIM)


def use(number: int) -> str:
    """`Held`, `Leaked`; `-` if it is not known."""
    return enum_word(pb.GpuUse.DESCRIPTOR, number) if number else NONE


def use_style(number: int) -> str:
    """The colour of a use."""
    return _USE.get(number, "")


def class_of(wire: member_pb2.GpuClass) -> GpuClass:
    """The class, for its name."""
    return GpuClass(wire.vendor, wire.product, wire.mig_profile, wire.sharing or "exclusive")


def counted(rows: Iterable[pb.GpuRollup]) -> list[tuple[str, str]]:
    """What is not as it should be, each with its colour: `1 unhealthy`, `2 degraded`. Empty: all is well."""
    kept = list(rows)
    sums = ((sum(getattr(row, name) for row in kept), name, style) for name, style in _COUNTED)
    return [(f"{number} {name}", style) for number, name, style in sums if number]


def healths(row: pb.GpuSummary) -> str:
    """`all healthy`, `1 unhealthy, 2 degraded`, `-` if no device is read."""
    if not row.HasField("rollup") or not row.rollup.devices:
        return NONE
    return ", ".join(text for text, _ in counted([row.rollup])) or "all healthy"


def healths_style(row: pb.GpuSummary) -> str:
    """The colour of the worst."""
    if not row.HasField("rollup") or not row.rollup.devices:
        return _DIM
    return next((style for _, style in counted([row.rollup])), _GOOD)


def mean_utilization(row: pb.GpuRollup) -> float | None:
    """In percent; None if no device says."""
    return row.utilization_sum / row.utilization_known / 100 if row.utilization_known else None


def percent(value: float | None) -> str:
    """`61%`."""
    return NONE if value is None else f"{value:.0f}%"


def memory(used_mib: float | None, total_mib: float | None) -> str:
    """`40/80GiB`; what is not known is `-`."""
    if not total_mib:
        return NONE if used_mib is None else f"{_gib(used_mib)}GiB"
    return f"{NONE if used_mib is None else _gib(used_mib)}/{_gib(total_mib)}GiB"


def power(watts: float | None) -> str:
    """`301W`, `12.4kW`."""
    if watts is None:
        return NONE
    return f"{watts / 1000:.1f}kW" if watts >= 1000 else f"{watts:.0f}W"


def celsius(value: int | None) -> str:
    """`61C`."""
    return NONE if value is None else f"{value}C"


def throttle(mask: int) -> str:
    """Why a device runs slower than it could: `power limit, heat, by the hardware`; empty: it does not."""
    known = sum(bit for bit, _ in _THROTTLE)
    words = [word for bit, word in _THROTTLE if mask & bit]
    return "; ".join([*words, *([f"0x{mask & ~known:x}"] if mask & ~known & ~0x1 else [])])


def holder(one: pb.GpuHolder) -> str:
    """`team/train-0 (workload train)`."""
    return f"{one.namespace}/{one.pod}" + (f" (workload {one.workload})" if one.workload else "")


def holders(all_of_them: Sequence[pb.GpuHolder]) -> str:
    """Who holds a device: `team/a`, or `one of team/a, team/b` where it is not known which."""
    certain = [holder(each) for each in all_of_them if each.certain]
    perhaps = [holder(each) for each in all_of_them if not each.certain]
    return ", ".join(certain + ([f"one of {', '.join(perhaps)}"] if perhaps else []))


def known(values: pb.GpuValues, name: str) -> int | None:
    """A value of a device; None if it doesn't offer it."""
    return int(getattr(values, name)) if values.HasField(name) else None  # type: ignore[arg-type]  # one of its own


def _gib(mib: float) -> str:
    gib = mib / 1024
    return f"{gib:.0f}" if gib >= 10 or not gib else f"{gib:.1f}"
