"""Plain data of the mirror: records, batches, cursors, lanes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Lane(IntEnum):
    """Each direction has two maps, so that an urgent record never waits behind a large one."""

    CONTROL = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One versioned value, or one chunk of a large one. `value` None means: deleted."""

    key: str
    version: int
    value: bytes | None
    more: bool = False
    """Further chunks of the same value follow."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a receiver has come: every record of map `epoch` up to `version`. Epoch 0: nothing yet."""

    epoch: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in the order of their versions."""

    epoch: int
    after: int
    """The version that the receiver must have reached; else something was lost on the way."""
    upto: int
    """The version that the receiver has reached after this batch."""
    records: tuple[Record, ...]
    snapshot: bool = False
    snapshot_end: bool = False
