"""Which children match a selector, on whole columns. The semantics are those of `labels.matches`. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from arbora.manifests.matching import INTEGER, matches
from arbora.manifests.selectors import Requirement, Selector
from arbora_hub.placement.arrays import Bools, Ints
from arbora_hub.placement.policy import LEVEL_PREFIX
from arbora_hub.placement.rows import Place
from arbora_hub.placement.snapshot import Snapshot


def matching(snapshot: Snapshot, selector: Selector) -> Bools:
    """Per slot, whether the child's labels match."""
    mask = snapshot.alive()
    for key, value in selector.match_labels.items():
        mask = mask & (_values(snapshot, key) == snapshot.interned(value))
    for one in selector.match_expressions:
        mask = mask & _holding(snapshot, one)
    return mask


def _holding(snapshot: Snapshot, one: Requirement) -> Bools:
    values = _values(snapshot, one.key)
    match one.operator:
        case "Exists":
            return np.asarray(values >= 0, dtype=np.bool_)
        case "DoesNotExist":
            return np.asarray(values < 0, dtype=np.bool_)
        case "In" | "NotIn":
            inside = np.zeros(len(values), dtype=np.bool_)
            for value in one.values:
                inside |= values == snapshot.interned(value)
            return inside if one.operator == "In" else ~inside
        case _:
            bound, numbers = (
                int(one.values[0]),
                snapshot.column(
                    ("number", one.key),
                    lambda place, rows: _number_in(place.labels.get(one.key)),
                    np.float64,
                    np.nan,
                ),
            )
            return np.asarray(numbers > bound if one.operator == "Gt" else numbers < bound, dtype=np.bool_)


def _values(snapshot: Snapshot, label: str) -> Ints:
    """Per slot, the value's number; -1 where the child lacks the label."""

    def number(place: Place, rows: object) -> int:
        value = place.labels.get(label)
        return -1 if value is None else snapshot.interned(value)

    return snapshot.column(("label", label), number, np.int64, -1)


def _number_in(value: str | None) -> float:
    return float(value) if value is not None and INTEGER.fullmatch(value) else np.nan


def listed(snapshot: Snapshot, names: Iterable[str]) -> Bools:
    """Per slot, whether the child is named."""
    mask = np.zeros(snapshot.slots, dtype=np.bool_)
    for name in names:
        for slot in snapshot.slots_of(name):
            mask[slot] = True
    return mask


def chosen(snapshot: Snapshot, names: tuple[str, ...], selector: Selector | None) -> Bools:
    """Per slot, whether the child is named or matches; everything, if neither is asked."""
    if not names and selector is None:
        return snapshot.alive()
    mask = listed(snapshot, names)
    return mask | matching(snapshot, selector) if selector is not None else mask


def label_value(place: Place, label: str) -> str | None:
    """A child's value of a label, or of a level of the tree (`level/1` is the first label of its path)."""
    if not label.startswith(LEVEL_PREFIX):
        return place.labels.get(label)
    parts = [part for part in place.path.split("/") if part]
    level = label.removeprefix(LEVEL_PREFIX)
    number = int(level) if level.isdigit() else 0
    return parts[number - 1] if 1 <= number <= len(parts) else None


def group_column(snapshot: Snapshot, label: str) -> tuple[Ints, Bools]:
    """Per slot, a number that is equal for equal values of the label; and whether the child has it at all."""
    numbers = snapshot.column(("group", label), lambda place, rows: _number(place, label), np.int64, -1)
    return numbers, np.asarray(numbers >= 0, dtype=np.bool_)


def _number(place: Place, label: str) -> int:
    value = label_value(place, label)
    if value is None:
        return -1
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=8).digest()) >> 1


def failed_requirement(selector: Selector, place: Place) -> str:
    """The first thing that a child's labels fail, as text; empty if they match."""
    for key, value in selector.match_labels.items():
        if place.labels.get(key) != value:
            return f"{key}={value}"
    for one in selector.match_expressions:
        if not matches(Selector({}, (one,)), place.labels):
            return _text(one)
    return ""


def _text(one: Requirement) -> str:
    values = f" ({', '.join(one.values)})" if one.values else ""
    return f"{one.key} {one.operator}{values}"
