"""All children's capacity as columns, kept up to date child by child.

    replace(place, rows) -> the child's slot and its block of rows are rewritten; everything else stays
    column(key, compute) -> one value per child, computed once and again only for children that changed

Changed only by `replace` and `remove`; a decision reads it and changes nothing that can be seen. A child keeps
its slot while it is known, and its rows stand side by side in the order of their classes, so that sums come out
the same however the snapshot was built. No I/O, no clock.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from arbora.capacity.gpus import HISTOGRAM_BINS, GpuClass
from arbora.capacity.sketch import BEST_SIZES
from arbora_hub.placement.arrays import Bools, Floats, Hashes, Ints, grown
from arbora_hub.placement.blocks import fits, in_pieces
from arbora_hub.placement.demand import GpuWish
from arbora_hub.placement.rows import Place, Row, child_of

MAX_COLUMNS = 128
"""Columns kept for labels, expressions and the like; the least used go first."""

_DEAD = 0
"""The class of rows that belong to no child."""


@dataclass(frozen=True, slots=True)
class Serving:
    """Rows that serve a wish, with what is often asked of them."""

    rows: Ints
    owner: Ints
    """Slot of each."""
    bins: Ints
    """[f, row]: nodes with f free devices."""
    asked: dict[Hashable, npt.NDArray[Any]]
    """What was asked before; a burst of like workloads asks the same again and again."""

    def in_pieces(self) -> Ints:
        """Free devices in pieces smaller than a block, per row."""
        return self.kept("in pieces", lambda: in_pieces(self.bins))

    def fit(self, size: int) -> Ints:
        """Pods of `size` devices per row."""
        return self.kept(("fit", size), lambda: fits(self.bins, size))

    def kept(self, key: Hashable, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What `compute` gives, computed once until any child changes; read-only.

        key: names what is computed; equal keys must mean the same function of the snapshot and this wish.
        """
        found = self.asked.get(key)
        if found is None:
            if len(self.asked) >= MAX_COLUMNS:
                self.asked.clear()
            found = self.asked[key] = compute()
            found.flags.writeable = False
        return found


class Snapshot:
    """The fleet as one hub sees it."""

    def __init__(self, children: Iterable[tuple[Place, Sequence[Row]]] = ()) -> None:
        self.layout = 0
        """Rises when a child comes or goes, that is when slots mean something else."""
        self.version = 0
        self._places: list[Place | None] = []
        self._rows: list[tuple[Row, ...]] = []
        self._blocks: list[tuple[int, int]] = []
        self._slots: dict[str, int] = {}
        self._parts: dict[str, dict[str, None]] = {}
        """Child -> names of its places."""
        self._spare: list[int] = []
        self._used_rows = 0
        self._live_rows = 0
        self._classes: dict[GpuClass | None, int] = {None: 1}
        self._columns: OrderedDict[Hashable, tuple[int, npt.NDArray[Any]]] = OrderedDict()
        self._wishes: dict[tuple[GpuWish, int], Bools] = {}
        self._texts: dict[str, int] = {}
        self._served: dict[GpuWish | None, Serving] = {}
        self._served_at = -1
        self._changed: Ints = np.zeros(16, dtype=np.int64)
        self._numbers: Ints = np.zeros((16, 8), dtype=np.int64)
        self._bins: Ints = np.zeros((HISTOGRAM_BINS, 16), dtype=np.int64)
        self._best: Ints = np.zeros((16, BEST_SIZES), dtype=np.int64)
        self._floats: Floats = np.full((16, 6), np.nan)
        for place, rows in children:
            self.replace(place, rows)

    # changes

    def replace(self, place: Place, rows: Sequence[Row]) -> None:
        """Take over what is now known of one child, old or new."""
        rows = tuple(sorted(rows, key=_row_order)) or (Row(None, cpu_known=False),)
        self.version += 1
        slot = self._slots.get(place.name)
        if slot is None:
            slot = self._new_slot(place.name)
        start, length = self._blocks[slot]
        if length != len(rows):
            self._clear_rows(slot)
            start = self._new_block(slot, len(rows))
        self._places[slot], self._rows[slot] = place, rows
        self._changed[slot] = self.version
        for position, row in enumerate(rows, start):
            self._write(position, slot, row)

    def remove(self, name: str) -> None:
        """Forget a child; nothing happens if it is not known."""
        slot = self._slots.pop(name, None)
        if slot is None:
            return
        parts = self._parts[child_of(name)]
        del parts[name]
        if not parts:
            del self._parts[child_of(name)]
        self.version += 1
        self.layout += 1
        self._clear_rows(slot)
        self._places[slot], self._rows[slot] = None, ()
        self._changed[slot] = self.version
        self._spare.append(slot)

    # children

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self._places if place is not None)

    @property
    def slots(self) -> int:
        """Length of every column over children; some slots may be empty."""
        return len(self._places)

    def slot(self, name: str) -> int | None:
        """Where a child stands in the columns."""
        return self._slots.get(name)

    def places_of(self, child: str) -> tuple[str, ...]:
        """Names of a child's places; empty if it is not known."""
        return tuple(self._parts.get(child, ()))

    def slots_of(self, child: str) -> tuple[int, ...]:
        """Where a child stands in the columns: one slot, of a hub maybe several; the widest first."""
        names = self._parts.get(child, ())
        if len(names) < 2:
            return tuple(self._slots[name] for name in names)
        devices = {name: sum(row.sketch.total for row in self._rows[self._slots[name]]) for name in names}
        return tuple(self._slots[name] for name in sorted(names, key=lambda name: (-devices[name], name)))

    def members(self, slot: int) -> int:
        """How many members a slot stands for, at least."""
        return max((row.sketch.members for row in self._rows[slot]), default=1) or 1

    def place(self, slot: int) -> Place:
        """The child at a slot. Raises LookupError for an empty one."""
        place = self._places[slot]
        if place is None:
            raise LookupError(f"slot {slot} is empty")
        return place

    def rows_of(self, slot: int) -> tuple[Row, ...]:
        """The rows of the child at a slot."""
        return self._rows[slot]

    def alive(self) -> Bools:
        """Which slots hold a child."""
        return self.column("alive", lambda place, rows: True, np.bool_, False)

    def hashes(self) -> Hashes:
        """A stable 64-bit hash of each child's name."""
        return self.column("hash", lambda place, rows: _hash(place.name), np.uint64, 0)

    def interned(self, text: str) -> int:
        """A number for a text, so that columns of texts compare as numbers."""
        return self._texts.setdefault(text, len(self._texts))

    def column(
        self,
        key: Hashable,
        compute: Callable[[Place, tuple[Row, ...]], Any],
        dtype: npt.DTypeLike,
        empty: Any,
    ) -> npt.NDArray[Any]:
        """One value per slot; don't write to it.

        key: names what is computed; equal keys must mean equal functions of the child. empty: for empty slots.
        """
        synced, values = self._columns.pop(key, (-1, np.full(0, empty, dtype=dtype)))
        if synced != self.version:
            values = grown(values, self.slots, empty)
            for slot in np.flatnonzero(self._changed[: self.slots] > synced).tolist():
                place = self._places[slot]
                values[slot] = empty if place is None else compute(place, self._rows[slot])
        self._columns[key] = (self.version, values)
        if len(self._columns) > MAX_COLUMNS:
            self._columns.popitem(last=False)
        return values[: self.slots]

    # rows

    @property
    def owner(self) -> Ints:
        """Slot of each row."""
        return self._numbers[: self._used_rows, 0]

    def serving(self, wish: GpuWish | None) -> Serving:
        """The rows that a wish can use; for no wish all rows. Kept until anything changes."""
        if self._served_at != self.version:
            self._served.clear()
            self._served_at = self.version
        found = self._served.get(wish)
        if found is None:
            taking = self.taking(wish)
            rows = np.flatnonzero(taking)
            bins = self._bins[:, : self._used_rows]
            if len(rows) < self._used_rows:
                bins = np.take(bins, rows, axis=1)
            found = self._served[wish] = Serving(rows, self.owner[rows], bins, {})
        return found

    @property
    def best(self) -> Ints:
        """Per row, the most pods of 1 to 16 devices in one member."""
        return self._best[: self._used_rows]

    def numbers(self, name: str) -> Ints:
        """Per row: members, free, allocatable, total, cpu, memory (-1: not known)."""
        return self._numbers[: self._used_rows, _NUMBERS[name]]

    def floats(self, name: str) -> Floats:
        """Per row, NaN where not known: price, throttled, wait, domain, cpu_allocatable, memory_allocatable."""
        return self._floats[: self._used_rows, _FLOATS[name]]

    @property
    def class_ids(self) -> Ints:
        """Per row, a number for its class; see `classes`."""
        return self._numbers[: self._used_rows, 1]

    @property
    def classes(self) -> tuple[GpuClass | None, ...]:
        """Classes by number less one."""
        return tuple(self._classes)

    def taking(self, wish: GpuWish | None) -> Bools:
        """Rows whose class serves the wish; for no wish all rows of children."""
        if wish is None:
            return np.asarray(self.class_ids != _DEAD, dtype=np.bool_)
        key = (wish, len(self._classes))
        serves = self._wishes.get(key)
        if serves is None:
            if len(self._wishes) > MAX_COLUMNS:
                self._wishes.clear()
            known = [False, *(each is not None and wish.takes(each) for each in self._classes)]
            serves = self._wishes[key] = np.array(known, dtype=np.bool_)
        return serves[self.class_ids]

    # inside

    def _new_slot(self, name: str) -> int:
        self.layout += 1
        if self._spare:
            slot = self._spare.pop()
        else:
            slot = len(self._places)
            self._places.append(None)
            self._rows.append(())
            self._blocks.append((0, 0))
            self._changed = grown(self._changed, slot + 1)
        self._slots[name] = slot
        self._parts.setdefault(child_of(name), {})[name] = None
        return slot

    def _clear_rows(self, slot: int) -> None:
        start, length = self._blocks[slot]
        self._numbers[start : start + length] = 0
        self._bins[:, start : start + length] = 0
        self._best[start : start + length] = 0
        self._live_rows -= length
        self._blocks[slot] = (0, 0)

    def _new_block(self, slot: int, length: int) -> int:
        if self._used_rows > 64 and self._live_rows + length < self._used_rows // 2:
            self._close_gaps()
        start = self._used_rows
        self._used_rows += length
        self._live_rows += length
        self._numbers = grown(self._numbers, self._used_rows)
        if self._bins.shape[1] < len(self._numbers):
            more = len(self._numbers) - self._bins.shape[1]
            self._bins = np.pad(self._bins, ((0, 0), (0, more)))
        self._best = grown(self._best, self._used_rows)
        self._floats = grown(self._floats, self._used_rows, np.nan)
        self._blocks[slot] = (start, length)
        return start

    def _close_gaps(self) -> None:
        """Write all rows anew, side by side."""
        self._used_rows = 0
        for slot, rows in enumerate(self._rows):
            length = self._blocks[slot][1]
            if length == 0:
                continue
            self._blocks[slot] = (self._used_rows, length)
            for position, row in enumerate(rows[:length], self._used_rows):
                self._write(position, slot, row)
            self._used_rows += length

    def _write(self, position: int, slot: int, row: Row) -> None:
        one = row.sketch
        number = self._classes.setdefault(row.gpu_class, len(self._classes) + 1)
        cpu, memory = (one.free_cpu_millis, one.free_memory_mib) if row.cpu_known else (-1, -1)
        self._numbers[position] = (
            slot,
            number,
            one.members,
            one.free,
            one.allocatable,
            one.total,
            cpu,
            memory,
        )
        self._bins[:, position] = one.histogram
        self._best[position] = one.best
        known = (
            row.price,
            row.throttled,
            row.wait_seconds,
            row.domain_free,
            row.allocatable_cpu_millis,
            row.allocatable_memory_mib,
        )
        self._floats[position] = [np.nan if each is None else each for each in known]


_NUMBERS = {"members": 2, "free": 3, "allocatable": 4, "total": 5, "cpu": 6, "memory": 7}
_FLOATS = {
    "price": 0,
    "throttled": 1,
    "wait": 2,
    "domain": 3,
    "cpu_allocatable": 4,
    "memory_allocatable": 5,
}


def _row_order(row: Row) -> tuple[bool, GpuClass]:
    return (row.gpu_class is not None, row.gpu_class or GpuClass("", ""))


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def mixed(uid: str, hashes: Hashes) -> Hashes:
    """A rendezvous hash of (uid, child) per child: every workload orders equal children in its own way.

    The finaliser of splitmix64 (Steele, Lea, Flood 2014), on whole columns.
    """
    with np.errstate(over="ignore"):
        value = hashes ^ np.uint64(_hash(uid))
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(value ^ (value >> np.uint64(31)), dtype=np.uint64)
