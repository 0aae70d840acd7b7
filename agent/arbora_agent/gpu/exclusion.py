"""Takes what devices say of their health into account in what Kubernetes says of free GPUs. Pure.

Kubernetes counts; it doesn't know which device a pod has. So a device that is no good is taken off what is free,
unless it is known that a pod holds it: rather one GPU too few is promised than one that does not work. What
Kubernetes has taken away itself is not taken away twice.

    8 GPUs, 8 offered, 5 requested, one Unhealthy, held by nobody knows whom  ->  2 free instead of 3
    8 GPUs, 7 offered, 5 requested, one Unhealthy                             ->  2 free, as before
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from arbora.capacity.gpus import NodeGpus
from arbora.gpus.health import Health
from arbora.gpus.model import Device, Node, Use

VENDOR = "nvidia"
_HELD = (Use.HELD, Use.IDLE)


@dataclass(slots=True)
class _Slots:
    """Schedulable units of one class: devices, instances of divided ones, or shares of shared ones."""

    seen: int = 0
    broken: int = 0
    broken_held: int = 0
    resting: int = 0
    """Draining or recovering, and not known to be held."""
    degraded: int = 0
    working: int = 0
    """That take work, and are not known to be held."""


def with_health(rows: Sequence[NodeGpus], nodes: Mapping[str, Node]) -> tuple[NodeGpus, ...]:
    """The rows of a cluster, with the health of the devices taken into account. nodes: by name."""
    of_node: dict[str, list[NodeGpus]] = {}
    for row in rows:
        if row.gpu_class.vendor == VENDOR and row.node in nodes:
            of_node.setdefault(row.node, []).append(row)
    return tuple(_judged(row, of_node[row.node], nodes[row.node]) if row.node in of_node else row for row in rows)


def shares(row: NodeGpus, devices: Iterable[Device]) -> int:
    """Units that one whole device of the row's class stands for: 1, or more where it is shared."""
    whole = sum(1 for each in devices if not each.mig_enabled)
    if row.gpu_class.sharing == "exclusive" or not whole:
        return 1
    return max(1, row.capacity // whole)


def _judged(row: NodeGpus, siblings: Sequence[NodeGpus], node: Node) -> NodeGpus:
    if row.gpu_class.vendor != VENDOR:
        return row
    devices = _of_class(row, siblings, node.devices)
    if not devices and not node.devices:
        return row  # nothing was read yet, or nothing can be
    slots = _count(row, devices)
    taken_away = max(0, row.capacity - row.allocatable)
    unseen = max(0, row.capacity - slots.seen)
    # A device that has vanished from the driver's list before the first look at it is missed by its number.
    missing = 0 if node.trouble else unseen
    blocked = max(0, slots.broken + missing - taken_away - slots.broken_held)
    offered = row.allocatable - blocked - slots.resting
    offered = min(offered, row.requested + slots.working + unseen - missing)
    return replace(
        row,
        allocatable=max(min(row.requested, row.allocatable), offered),
        broken=max(taken_away, slots.broken + missing),
        draining=slots.resting,
        degraded=min(slots.degraded, row.allocatable),
        observed=slots.seen,
    )


def _of_class(row: NodeGpus, siblings: Sequence[NodeGpus], devices: Sequence[Device]) -> list[Device]:
    """The devices that the row counts, whole or as instances.

    A node has one product as a rule, and its label may say less than the driver: then the only row of its kind
    has them all.
    """
    divided = bool(row.gpu_class.mig_profile)
    fitting = [
        each
        for each in devices
        if each.mig_enabled is divided
        and (not divided or any(one.profile == row.gpu_class.mig_profile for one in each.mig))
    ]
    alike = [each for each in siblings if bool(each.gpu_class.mig_profile) is divided]
    if len({each.gpu_class.product for each in alike}) > 1:
        return [each for each in fitting if each.product == row.gpu_class.product]
    return fitting


def _count(row: NodeGpus, devices: Sequence[Device]) -> _Slots:
    slots = _Slots()
    profile = row.gpu_class.mig_profile
    each_stands_for = shares(row, devices)
    for device in devices:
        units = sum(one.profile == profile for one in device.mig) if profile else each_stands_for
        slots.seen += units
        held = device.use in _HELD
        if device.health is Health.UNHEALTHY:
            slots.broken += units
            slots.broken_held += units if held else 0
        elif not device.health.takes_work:
            slots.resting += 0 if held else units
        else:
            slots.degraded += units if device.health is Health.DEGRADED else 0
            slots.working += 0 if held else units
    return slots
