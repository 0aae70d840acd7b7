"""Devices of one class added up: what goes up to the hub above once a minute, and what clients are shown. Pure.

Under `add` roll-ups are a commutative monoid with `Rollup()` as identity: how a tree is cut changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from arbora.capacity.gpus import GpuClass
from arbora.capacity.wire import class_from_wire, class_to_wire
from arbora.errors import InvalidInput
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Use, Values
from arbora.v1 import gpu_pb2 as pb
from arbora_hub.gpus.minute import THROTTLE_MASK, Minute

MAX_ROWS = 256
"""Classes in one record, as in sketches."""
MIB = 2**20
_HIGHEST = frozenset({"utilization_max", "temperature_max"})
_UINT32, _UINT64 = 2**32 - 1, 2**64 - 1
_WIDE = frozenset({"utilization_sum", "memory_used_mib", "memory_total_mib", "power_milliwatts"})


@dataclass(frozen=True, slots=True)
class Rollup:
    """Counts of devices, unless a unit is named."""

    devices: int = 0
    reporting: int = 0
    utilization_known: int = 0
    utilization_sum: int = 0
    """Hundredths of a percent."""
    utilization_max: int = 0
    memory_used_mib: int = 0
    memory_total_mib: int = 0
    """Of the devices whose use of memory is known."""
    power_milliwatts: int = 0
    temperature_max: int = 0
    throttled: int = 0
    healthy: int = 0
    degraded: int = 0
    draining: int = 0
    unhealthy: int = 0
    recovering: int = 0
    idle: int = 0
    leaked: int = 0
    silent: int = 0

    @property
    def utilization(self) -> float | None:
        """Mean in percent; None: of none is it known."""
        return self.utilization_sum / self.utilization_known / 100 if self.utilization_known else None


NAMES = tuple(each.name for each in fields(Rollup))


def add(rows: Iterable[Rollup]) -> Rollup:
    """The sum; of none it is `Rollup()`."""
    kept = tuple(rows)
    return Rollup(
        **{
            name: max((getattr(each, name) for each in kept), default=0)
            if name in _HIGHEST
            else sum(getattr(each, name) for each in kept)
            for name in NAMES
        }
    )


def of_minute(device: Device, minute: Minute, silent: bool) -> Rollup:
    """One device over a minute."""
    return _one(
        device,
        silent,
        minute.known,
        minute.utilization,
        minute.utilization_max,
        minute.memory_used_mib,
        minute.power,
        minute.temperature,
        minute.throttled,
    )


def of_values(device: Device, values: Values, silent: bool) -> Rollup:
    """One device as it is now."""
    return _one(
        device,
        silent,
        any(
            each is not None
            for each in (values.utilization, values.memory_used_mib, values.power, values.temperature)
        ),
        values.utilization,
        values.utilization,
        values.memory_used_mib,
        values.power,
        values.temperature,
        bool((values.throttle or 0) & THROTTLE_MASK),
    )


def to_wire(rows: Iterable[tuple[GpuClass, Rollup]]) -> pb.GpuRollups:
    """The record `gpu-rollup`."""
    return pb.GpuRollups(rows=[row_to_wire(gpu_class, row) for gpu_class, row in sorted(rows)[:MAX_ROWS]])


def row_to_wire(gpu_class: GpuClass, row: Rollup) -> pb.GpuRollup:
    """One class. What members that lie add up to beyond a field's width is cut there."""
    numbers = {name: min(getattr(row, name), _UINT64 if name in _WIDE else _UINT32) for name in NAMES}
    return pb.GpuRollup(gpu_class=class_to_wire(gpu_class), **numbers)


def from_wire(message: pb.GpuRollups) -> dict[GpuClass, Rollup]:
    """By class. Raises InvalidInput."""
    if len(message.rows) > MAX_ROWS:
        raise InvalidInput(f"has {len(message.rows)} rows, more than {MAX_ROWS}", field="gpu-rollup.rows")
    found: dict[GpuClass, Rollup] = {}
    for index, each in enumerate(message.rows):
        gpu_class = class_from_wire(each.gpu_class, f"gpu-rollup.rows[{index}].gpu_class")
        row = Rollup(**{name: getattr(each, name) for name in NAMES})
        found[gpu_class] = add((found.get(gpu_class, Rollup()), row))
    return found


def _one(
    device: Device,
    silent: bool,
    reporting: bool,
    utilization: float | None,
    utilization_max: int | None,
    memory: float | None,
    power: float | None,
    temperature: int | None,
    throttled: bool,
) -> Rollup:
    health = device.health
    total = (device.memory_bytes or 0) // MIB if memory is not None else 0
    return Rollup(
        devices=1,
        reporting=int(reporting),
        utilization_known=int(utilization is not None),
        utilization_sum=round((utilization or 0) * 100),
        utilization_max=utilization_max or 0,
        memory_used_mib=round(memory or 0),
        memory_total_mib=total,
        power_milliwatts=round((power or 0) * 1000),
        temperature_max=temperature or 0,
        throttled=int(throttled),
        healthy=int(health is Health.HEALTHY),
        degraded=int(health is Health.DEGRADED),
        draining=int(health is Health.DRAINING),
        unhealthy=int(health is Health.UNHEALTHY),
        recovering=int(health is Health.RECOVERING),
        idle=int(device.use is Use.IDLE),
        leaked=int(device.use is Use.LEAKED),
        silent=int(silent),
    )
