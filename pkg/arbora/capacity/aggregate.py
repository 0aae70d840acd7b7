"""Rows of many members added up, kept apart by what placement selects by: class, labels, taints, staleness.

    rows of children -> `add_up` -> `limited` -> `to_wire` -> (the parent) `from_wire` -> rows of a child hub

Under `add_up` rows are a commutative monoid with () as identity: how a tree is cut changes nothing. `limited`
forgets distinctions, never devices, and never promises what a taint keeps away. Must not read a clock: ages come
in. Pure. Source: design notes on placement, "Capacity"; the counts themselves are in `sketch.py`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush

from google.protobuf.duration_pb2 import Duration

from arbora.capacity.gpus import GpuClass
from arbora.capacity.sketch import EMPTY, SketchRow, merge
from arbora.capacity.wire import (
    EFFECT_FROM_WIRE,
    EFFECT_TO_WIRE,
    class_from_wire,
    class_to_wire,
    row_from_wire,
    row_to_wire,
)
from arbora.errors import InvalidInput
from arbora.v1 import member_pb2 as pb

Labels = tuple[tuple[str, str], ...]
"""(key, value), sorted."""
Taints = tuple[tuple[str, str, str], ...]
"""(key, value, effect), sorted; the effect is NoSchedule, PreferNoSchedule or NoExecute."""
RowKey = tuple[GpuClass, Labels, Taints, bool]
"""What makes rows add up; the last is staleness."""

NO_GPUS = GpuClass("none", "none")
"""Stands for a class in the rows of members without GPUs, so that labels can select these members too."""
MAX_ROWS = 256
"""Rows that a hub sends at most, over all classes; and rows that one record may have."""
MAX_LABELS, MAX_TAINTS = 256, 1024
"""Of one row."""
MAX_LABEL_KEY, MAX_LABEL_VALUE = 317, 63
"""Characters, as in Kubernetes."""
MAX_AGE = 10 * 365 * 86_400.0
"""Seconds; whatever is older is as old as this."""
MAX_KEY = 400
"""Characters of a record's key; a longer one is replaced by its hash."""


@dataclass(frozen=True, slots=True)
class TreeRow:
    """Devices of one class on members that have the same labels and taints."""

    gpu_class: GpuClass
    labels: Labels = ()
    taints: Taints = ()
    stale: bool = False
    """Its members are not present or not heard of: shown, never counted as free."""
    approximate: bool = False
    """Labels were left out, or rows with other labels and taints were merged into it."""
    worst_age: float = 0.0
    """Seconds, of the oldest report that it sums over."""
    row: SketchRow = EMPTY

    @property
    def key(self) -> RowKey:
        """Rows with equal keys add up."""
        return self.gpu_class, self.labels, self.taints, self.stale


def order_of(row: TreeRow) -> tuple[object, ...]:
    """What rows are sorted by."""
    one = row.gpu_class
    return (one.vendor, one.product, one.mig_profile, one.sharing), row.labels, row.taints, row.stale


def total_of(rows: Sequence[TreeRow]) -> TreeRow:
    """The sum of one or more rows of one key."""
    if len(rows) == 1:
        return rows[0]
    return replace(
        rows[0],
        approximate=any(one.approximate for one in rows),
        worst_age=max(one.worst_age for one in rows),
        row=merge(one.row for one in rows),
    )


def add_up(rows: Iterable[TreeRow]) -> tuple[TreeRow, ...]:
    """One row for each key, sorted."""
    groups: defaultdict[RowKey, list[TreeRow]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    return tuple(sorted(map(total_of, groups.values()), key=order_of))


def limited(rows: Iterable[TreeRow], limit: int = MAX_ROWS) -> tuple[TreeRow, ...]:
    """The same devices in at most `limit` rows, or in one row for each class and staleness if these are more.

    First the label key with the most different values is left out, then the next; then the smallest rows of a
    class are merged. What is merged keeps common labels and has the taints of both. Sorted.
    """
    known = [_cut(row) for row in rows]
    keys: set[RowKey] = set()
    for row in known:
        keys.add(row.key)
        if len(keys) > limit:
            break
    else:
        return add_up(known)
    return _merged(_without_labels(known, limit), limit)


def record_keys(classes: Iterable[GpuClass]) -> dict[GpuClass, str]:
    """`sketch/<class>` for each, as an agent names its records, and unique."""
    keys: dict[GpuClass, str] = {}
    taken: set[str] = set()
    for one in sorted(classes):
        key = f"sketch/{one.key}"
        if key in taken or len(key.encode()) > MAX_KEY:
            key = f"sketch/{hashlib.sha256(repr(one).encode()).hexdigest()}"
        taken.add(key)
        keys[one] = key
    return keys


def to_wire(rows: Iterable[TreeRow]) -> dict[str, pb.Sketch]:
    """Records by key: one for each class, with the rows in the order in which they come."""
    by_class: defaultdict[GpuClass, list[TreeRow]] = defaultdict(list)
    for row in rows:
        by_class[row.gpu_class].append(row)
    keys = record_keys(by_class)
    return {key: class_rows_to_wire(one, by_class[one]) for one, key in keys.items()}


def class_rows_to_wire(gpu_class: GpuClass, rows: Iterable[TreeRow]) -> pb.Sketch:
    """The record of one class. rows: of that class."""
    return pb.Sketch(gpu_class=class_to_wire(gpu_class), rows=map(_row_to_wire, rows))


def from_wire(message: pb.Sketch) -> tuple[TreeRow, ...]:
    """The rows of a record, equal ones added up. Raises InvalidInput that names the wrong field."""
    gpu_class = class_from_wire(message.gpu_class, "sketch.gpu_class")
    if len(message.rows) > MAX_ROWS:
        raise InvalidInput(f"has {len(message.rows)} rows, more than {MAX_ROWS}", field="sketch.rows")
    return add_up(
        _row_from_wire(gpu_class, row, f"sketch.rows[{index}]") for index, row in enumerate(message.rows)
    )


def _cut(row: TreeRow) -> TreeRow:
    """What a receiver would refuse is not sent."""
    if len(row.labels) <= MAX_LABELS:
        return row
    return replace(row, labels=row.labels[:MAX_LABELS], approximate=True)


def _without_labels(rows: Sequence[TreeRow], limit: int) -> tuple[TreeRow, ...]:
    """Leave out as few label keys as the limit asks for, those with the most values first."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    having: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        for key, value in row.labels:
            values[key].add(value)
            having[key] += 1
    distinct = {key: len(each) + (having[key] < len(rows)) for key, each in values.items()}
    # a key that has one value everywhere tells nothing apart, so leaving it out would gain nothing
    order = sorted((key for key in distinct if distinct[key] > 1), key=lambda key: (-distinct[key], key))
    for count in range(1, len(order) + 1):
        dropped = frozenset(order[:count])
        groups: defaultdict[RowKey, list[TreeRow]] = defaultdict(list)
        for row in rows:
            groups[row.gpu_class, _rest(row.labels, dropped), row.taints, row.stale].append(row)
        if len(groups) <= limit or count == len(order):
            return tuple(sorted((_relabelled(those, key[1]) for key, those in groups.items()), key=order_of))
    return add_up(rows)


def _rest(labels: Labels, dropped: frozenset[str]) -> Labels:
    return tuple([pair for pair in labels if pair[0] not in dropped])


def _relabelled(rows: Sequence[TreeRow], labels: Labels) -> TreeRow:
    """The sum of rows that have these labels in common, and some of them others."""
    lost = any(len(row.labels) > len(labels) for row in rows)
    total = total_of(rows)
    return replace(total, labels=labels, approximate=True) if lost else total


def _merged(rows: Sequence[TreeRow], limit: int) -> tuple[TreeRow, ...]:
    """Merge the smallest row of a class with the next larger one until there are few enough. rows: sorted."""
    serial = itertools.count()  # a merged row may equal another in all that it is ordered by
    heaps: defaultdict[tuple[GpuClass, bool], list[tuple[int, tuple[object, ...], int, TreeRow]]] = defaultdict(
        list
    )
    for row in rows:
        heaps[row.gpu_class, row.stale].append((row.row.total, order_of(row), next(serial), row))
    for heap in heaps.values():
        heapify(heap)
    count = len(rows)
    while count > limit:
        several = [heap for heap in heaps.values() if len(heap) > 1]
        if not several:
            break
        heap = min(several, key=lambda one: one[0][:2])
        row = _union(heappop(heap)[-1], heappop(heap)[-1])
        heappush(heap, (row.row.total, order_of(row), next(serial), row))
        count -= 1
    return add_up(entry[-1] for heap in heaps.values() for entry in heap)


def _union(one: TreeRow, other: TreeRow) -> TreeRow:
    """Both rows as one that promises no more than either: whoever goes there must tolerate the taints of both."""
    return TreeRow(
        one.gpu_class,
        tuple(sorted(set(one.labels) & set(other.labels))),
        tuple(sorted(set(one.taints) | set(other.taints))),
        one.stale,
        approximate=True,
        worst_age=max(one.worst_age, other.worst_age),
        row=merge((one.row, other.row)),
    )


def _row_to_wire(row: TreeRow) -> pb.SketchRow:
    message = row_to_wire(row.row)
    for key, value in row.labels:
        message.labels[key] = value
    for key, value, effect in row.taints:
        message.taints.add(key=key, value=value, effect=EFFECT_TO_WIRE[effect])
    message.stale = row.stale
    message.approximate = row.approximate
    if row.worst_age > 0:
        message.worst_age.FromMilliseconds(int(min(row.worst_age, MAX_AGE) * 1000))
    return message


def _row_from_wire(gpu_class: GpuClass, message: pb.SketchRow, field: str) -> TreeRow:
    return TreeRow(
        gpu_class,
        _labels(message.labels, f"{field}.labels"),
        _taints(message.taints, f"{field}.taints"),
        message.stale,
        message.approximate,
        _age(message.worst_age, f"{field}.worst_age"),
        row_from_wire(message, field),
    )


def _labels(labels: Mapping[str, str], field: str) -> Labels:
    if len(labels) > MAX_LABELS:
        raise InvalidInput(f"has {len(labels)} labels, more than {MAX_LABELS}", field=field)
    for key, value in labels.items():
        _check_label(key, value, field)
    return tuple(sorted(labels.items()))


def _taints(taints: Sequence[pb.Taint], field: str) -> Taints:
    if len(taints) > MAX_TAINTS:
        raise InvalidInput(f"has {len(taints)} taints, more than {MAX_TAINTS}", field=field)
    for one in taints:
        _check_label(one.key, one.value, field)
        if one.effect not in EFFECT_FROM_WIRE:
            # left out, it would let in what it keeps away
            raise InvalidInput(f"{one.key[:80]!r} has an effect that is not known", field=field)
    return tuple(sorted({(one.key, one.value, EFFECT_FROM_WIRE[one.effect]) for one in taints}))


def _check_label(key: str, value: str, field: str) -> None:
    if not key or len(key) > MAX_LABEL_KEY or len(value) > MAX_LABEL_VALUE:
        raise InvalidInput(f"{key[:80]!r} is no key, or it or its value is too long", field=field)


def _age(message: Duration, field: str) -> float:
    seconds = message.seconds + message.nanos / 1e9
    if seconds < 0:
        raise InvalidInput("is negative", field=field)
    return min(seconds, MAX_AGE)
