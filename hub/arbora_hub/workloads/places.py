"""What placement knows of a child, from what the child said: its places and their capacity. Pure.

A member is one place. A child hub is a place for each set of labels and taints in the rows it sent; labels that
operators gave the hub here count for all of them, beneath their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from arbora.capacity.aggregate import NO_GPUS, TreeRow, from_wire
from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import SketchRow
from arbora.capacity.wire import sketch_from_wire
from arbora.errors import InvalidInput
from arbora_hub.inventory.child import Child
from arbora_hub.inventory.liveness import Liveness
from arbora_hub.placement.rows import LOST, ONLINE, PART_MARK, SUSPECT, Place, Row, Taint

Price = Callable[[str, GpuClass], float | None]
"""Per device and hour of a class in a child; None: not known."""
Labels = Mapping[str, str]
Capacity = tuple[Place, tuple[Row, ...]]

_LIVENESS = {
    Liveness.ONLINE: ONLINE,
    Liveness.SUSPECT: SUSPECT,
    Liveness.LOST: LOST,
    # Enrolled and not yet seen: explicit work may wait for it, and it has no capacity to be chosen for.
    Liveness.JOINING: SUSPECT,
}


def places_of(child: Child, path: str, price: Price, inherited: Labels) -> tuple[Capacity, ...]:
    """A child's places, each with its rows; never empty. inherited: labels that the parent gave this hub."""
    if child.row.kind != "hub":
        return ((place_of(child, path, inherited), rows_of(child, price)),)
    grouped: dict[tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str, str], ...]], list[TreeRow]] = {}
    for message in child.sketches.values():
        try:
            rows = from_wire(message)
        except InvalidInput:
            continue
        for row in rows:
            if not row.stale:
                grouped.setdefault((row.labels, row.taints), []).append(row)
    bare = place_of(child, path, inherited)
    if not grouped:
        return ((bare, ()),)
    return tuple(
        (
            Place(
                name=f"{child.name}{PART_MARK}{_title(labels, taints)}",
                labels={**bare.labels, **dict(labels)},
                path=path,
                taints=(*bare.taints, *(Taint(key, _effect(effect), value) for key, value, effect in taints)),
                liveness=bare.liveness,
                age=max(bare.age, *(one.worst_age for one in rows)),
                interval=HUB_INTERVAL,
                cordoned=bare.cordoned,
                hub=True,
            ),
            tuple(_row(one, child, price) for one in rows),
        )
        for (labels, taints), rows in sorted(grouped.items())
    )


HUB_INTERVAL = 30.0
"""Seconds between reports that a subtree may take: ages of rows below add up along the way."""


def place_of(child: Child, path: str, inherited: Labels) -> Place:
    """What placement knows of a child itself."""
    row = child.row
    return Place(
        name=row.name,
        labels={**inherited, **row.labels},
        path=path,
        taints=tuple(Taint(one.key, one.effect, one.value, one.added) for one in row.taints),
        liveness=_LIVENESS[child.liveness],
        # what an earlier process of this hub last heard is nothing to give GPUs away by
        age=math.inf if child.restored else 0.0,
        cordoned=row.cordoned,
        hub=row.kind == "hub",
        properties={"kubernetes": child.status.kubernetes_version} if child.status is not None else {},
    )


def rows_of(child: Child, price: Price) -> tuple[Row, ...]:
    """A member's capacity by GPU class; what can't be read counts as not there."""
    rows = []
    for message in child.sketches.values():
        try:
            gpu_class, sketch = sketch_from_wire(message)
        except InvalidInput:
            continue
        rows.append(Row(gpu_class, sketch, price=price(child.name, gpu_class), throttled=_throttled(sketch)))
    return tuple(rows)


def facts_of(child: Child, inherited: Labels) -> object:
    """What decides where work may be, besides presence and capacity; compared, never read."""
    return ({**inherited, **child.row.labels}, child.row.taints, child.row.cordoned)


def _effect(effect: str) -> str:
    """Work is driven out below by the hub that knows since when; from here such a taint keeps new work away."""
    return "NoSchedule" if effect == "NoExecute" else effect


def _row(one: TreeRow, child: Child, price: Price) -> Row:
    if one.gpu_class == NO_GPUS:
        return Row(None, one.row, cpu_known=False)
    return Row(one.gpu_class, one.row, price=price(child.name, one.gpu_class), throttled=_throttled(one.row))


def _throttled(sketch: SketchRow) -> float | None:
    """The part of the devices that is known to be degraded, of those that somebody looks at."""
    return min(1.0, sketch.degraded / sketch.observed) if sketch.observed else None


def _title(labels: tuple[tuple[str, str], ...], taints: tuple[tuple[str, str, str], ...]) -> str:
    """What sets a place apart, for people too."""
    parts = [f"{key}={value}" for key, value in labels]
    return ",".join([*parts, *(f"{key}={value}:{effect}" for key, value, effect in taints)])
