"""Plain data of the mirror: records, batches, cursors, lanes, and the limits that both ends keep. No logic.

A *version* is a position in the history of one lane: a value moves the counter on by its number of bytes
(at least 1), a deletion by 1. So the end of each chunk of a large value has a position of its own, and one
rule, `after` and `upto` of a batch, finds whatever was lost or repeated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

MAX_KEY_BYTES = 512
"""Of a key in UTF-8."""
MAX_VALUE_BYTES = 8 * 1024 * 1024
"""Of a whole value, however many chunks it travels in."""
RECORD_OVERHEAD = 16
"""Bytes that a record adds on the wire to those of its key and value."""


class Lane(IntEnum):
    """Each direction has two maps, so that an urgent record never waits behind a large one."""

    CONTROL = 1
    BULK = 2


@dataclass(frozen=True, slots=True)
class Record:
    """One versioned value, or one chunk of a large one. `value` None means: deleted."""

    key: str
    version: int
    value: bytes | None = field(repr=False)
    """May be a token: never shown."""
    more: bool = False
    """Further chunks of the same value follow."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a receiver has come: every record of map `epoch` up to `version`. Epoch 0: nothing yet."""

    epoch: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records in the order of their versions: whole ones, or one chunk."""

    epoch: int
    after: int
    """The version that the receiver must have reached; else something was lost on the way."""
    upto: int
    """The version that the receiver has reached after this batch."""
    records: tuple[Record, ...]
    snapshot: bool = False
    snapshot_end: bool = False


def key_bytes(key: str) -> int:
    """Length of `key` in UTF-8."""
    return len(key) if key.isascii() else len(key.encode())


def record_bytes(record: Record) -> int:
    """What `record` counts against the limit of a batch."""
    value = record.value
    return key_bytes(record.key) + RECORD_OVERHEAD + (0 if value is None else len(value))


def start_of(record: Record) -> int:
    """The position just before the first byte of a whole record."""
    return record.version - (len(record.value) if record.value else 1)
