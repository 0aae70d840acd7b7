"""The sending side of one lane: a map that is mirrored to one receiver, newest values only.

    put, delete -> next_batch -> (the wire) -> ack        after a cut: resume(the receiver's cursor)

The records stand in the order of their versions, so "what the receiver lacks" is always a tail of that
order. A changed key moves to the end; its older value, if unsent, is simply gone. Deletions leave a
tombstone, volatile records (tokens) leave nothing, and both are forgotten once acked: `_forgotten` remembers
up to where, and whoever has not come as far gets a snapshot. Until a key rests, it may wait behind
the keys that changed less recently.

Pure: no I/O, no clock, no randomness. Knows nothing of kinds, sessions or messages. Each call costs what it
sends or changes; only a snapshot and a resume walk over more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from arbora.errors import InvalidInput
from arbora.mirror.records import (
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    RECORD_OVERHEAD,
    Batch,
    Cursor,
    Record,
    key_bytes,
    record_bytes,
    start_of,
)

WINDOW = 16
"""Batches in flight, by default."""
_EPOCHS = 2**63 - 1


class Outbox:
    """One lane of the map that this end owns."""

    # Thousands of these idle in one process: tables exist only while something is in them.
    __slots__ = (
        "_chunked",
        "_epoch",
        "_fleeting",
        "_forgotten",
        "_in_flight",
        "_max_value_bytes",
        "_offset",
        "_position",
        "_records",
        "_snapshot_due",
        "_unnamed",
        "_unsent",
        "_version",
        "_window",
    )

    def __init__(self, epoch: int, *, window: int = WINDOW, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        """Start with an empty map, which every receiver gets as a snapshot.

        epoch: random, 1 to 2**63 - 1, new whenever the owner of the map lost its memory.
        window: how many batches may be un-acked.
        max_value_bytes: what the receiver accepts of one value.
        Raises InvalidInput.
        """
        if not 0 < epoch <= _EPOCHS:
            raise InvalidInput("an epoch is a number from 1 to 2**63 - 1", field="epoch")
        if window < 1:
            raise InvalidInput("a window holds at least one batch", field="window")
        self._epoch = epoch
        self._window = window
        self._max_value_bytes = max_value_bytes
        self._version = 0
        self._forgotten = 0  # the highest version that was dropped without a trace
        self._records: dict[str, Record] = {}  # in the order of versions; tombstones included
        self._fleeting: OrderedDict[str, int] | None = None  # key -> version of what is dropped once acked
        self._unsent: OrderedDict[str, Record] | None = None  # in the order of versions
        self._position = 0  # everything up to here was sent on this stream
        self._in_flight: list[int] | None = None  # `upto` of each un-acked batch
        self._snapshot_due = True  # the next batch starts a snapshot; until then nothing is called unsent
        self._unnamed: set[str] | None = None  # in a snapshot: keys from its start, neither sent nor deleted
        self._chunked = 0  # version of the record of which `_offset` bytes were sent
        self._offset = 0

    @property
    def epoch(self) -> int:
        """Epoch of the map."""
        return self._epoch

    @property
    def version(self) -> int:
        """Version of the newest record there ever was."""
        return self._version

    @property
    def pending(self) -> bool:
        """Whether something is unsent or un-acked."""
        return self._snapshot_due or self._unsent is not None or self._in_flight is not None

    @property
    def tombstones(self) -> int:
        """How many deletions are un-acked."""
        return len(self._records) - len(self)

    def __len__(self) -> int:
        return len(self._records) - sum(self._records[key].value is None for key in self._fleeting or ())

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """The present items, the least recently changed first."""
        for record in self._records.values():
            if record.value is not None:
                yield record.key, record.value

    def get(self, key: str) -> bytes | None:
        """The present value."""
        record = self._records.get(key)
        return None if record is None else record.value

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> bool:
        """Set `key`; returns whether anything changed (then there is something to send).

        volatile: forget the record once it is acked; the receiver keeps it until it discards it.
        Raises InvalidInput for a key or a value that no receiver would accept.
        """
        old = self._records.get(key)
        if old is not None and old.value == value and volatile == (key in (self._fleeting or ())):
            return False
        if old is None and (not key or key_bytes(key) > MAX_KEY_BYTES):
            raise InvalidInput(f"the key {key[:64]!r} must have 1 to {MAX_KEY_BYTES} bytes", field="key")
        if len(value) > self._max_value_bytes:
            raise InvalidInput(
                f"the value of {key} has {len(value)} bytes; the limit is {self._max_value_bytes}",
                hint="Split it over several keys.",
                field="value",
            )
        self._write(key, value, fleeting=volatile)
        return True

    def delete(self, key: str) -> bool:
        """Delete `key`; returns whether it was there."""
        if self.get(key) is None:
            return False
        self._write(key, None, fleeting=True)
        if self._unnamed is not None:
            self._unnamed.discard(key)
        return True

    def next_batch(self, max_bytes: int) -> Batch | None:
        """What to send next; None if the window is full or nothing is unsent.

        max_bytes: limit for the sum of `record_bytes`. A value that is larger travels in chunks, of at least one
        byte; a key alone may exceed it.
        """
        if self._in_flight is not None and len(self._in_flight) >= self._window:
            return None
        if self._snapshot_due:
            self._start_snapshot()
        if self._unsent is None and self._unnamed is None:
            return None
        after = self._position
        records = self._take(max_bytes)
        ends = False
        if self._unnamed is not None:
            snapshot = True
            if not (records and records[0].more):
                self._unnamed.difference_update(record.key for record in records)
                ends = not self._unnamed
            if ends:
                self._unnamed = None
        else:
            snapshot = False
        if self._in_flight is None:
            self._in_flight = []
        self._in_flight.append(self._position)
        return Batch(self._epoch, after, self._position, records, snapshot, ends)

    def ack(self, cursor: Cursor) -> None:
        """The receiver has come to `cursor`. Late and repeated acks do no harm."""
        if cursor.epoch != self._epoch:
            return
        # An ack beyond what this stream has carried speaks of an older stream.
        version = min(cursor.version, self._position)
        if self._in_flight is not None:
            self._in_flight = [upto for upto in self._in_flight if upto > version] or None
        self._forget(version)

    def resume(self, cursor: Cursor) -> None:
        """A new stream starts, and its receiver stands at `cursor`: send what is above it, or a snapshot."""
        self._in_flight = self._unsent = self._unnamed = None
        self._chunked = self._offset = self._position = 0
        if cursor.epoch == self._epoch and cursor.version > self._version:
            # The owner was restored from an older copy without a new epoch. Versions would be used twice.
            self._epoch = self._epoch % _EPOCHS + 1
        self._snapshot_due = cursor.epoch != self._epoch or cursor.version < self._forgotten
        if self._snapshot_due:
            return
        self._forget(cursor.version)
        tail: list[Record] = []
        for record in reversed(self._records.values()):
            if record.version <= cursor.version:
                break
            tail.append(record)
        self._position = cursor.version
        if tail:
            tail.reverse()
            self._unsent = OrderedDict((record.key, record) for record in tail)
            # A cursor inside of a value (no honest receiver has one) means: without that value.
            self._position = min(cursor.version, start_of(tail[0]))

    def _write(self, key: str, value: bytes | None, *, fleeting: bool) -> None:
        self._version += len(value) if value else 1
        record = Record(key, self._version, value)
        self._records.pop(key, None)
        self._records[key] = record
        if self._fleeting is not None and self._fleeting.pop(key, None) is not None and not self._fleeting:
            self._fleeting = None
        if fleeting:
            if self._fleeting is None:
                self._fleeting = OrderedDict()
            self._fleeting[key] = record.version
        if self._snapshot_due:
            return
        if self._unsent is None:
            self._unsent = OrderedDict()
        self._unsent.pop(key, None)
        self._unsent[key] = record

    def _start_snapshot(self) -> None:
        # What a snapshot doesn't name is gone anyway: no tombstone has to travel.
        for key in [key for key in self._fleeting or () if self._records[key].value is None]:
            self._drop(key)
        self._snapshot_due = False
        self._unnamed = set(self._records)
        self._unsent = OrderedDict(self._records) if self._records else None

    def _take(self, max_bytes: int) -> tuple[Record, ...]:
        """Remove the records of one batch from the unsent ones, and move the position on."""
        unsent = self._unsent
        if unsent is None:  # the snapshot of an empty map
            self._position = self._version
            return ()
        head = next(iter(unsent.values()))
        offset = self._offset if head.version == self._chunked else 0
        if head.value and (offset or record_bytes(head) > max_bytes):
            taken: list[Record] = [self._chunk(head, head.value, offset, max_bytes)]
            if taken[0].more:
                return tuple(taken)
        else:
            taken = []
            size = 0
            for record in unsent.values():
                size += record_bytes(record)
                if size > max_bytes and taken:
                    break
                taken.append(record)
        for _ in taken:
            unsent.popitem(last=False)
        if unsent:
            self._position = start_of(next(iter(unsent.values())))
        else:
            self._unsent = None
            self._position = self._version
        return tuple(taken)

    def _chunk(self, head: Record, value: bytes, offset: int, max_bytes: int) -> Record:
        room = max(1, max_bytes - key_bytes(head.key) - RECORD_OVERHEAD)
        self._chunked = head.version
        self._offset = min(offset + room, len(value))
        self._position = start_of(head) + self._offset
        return Record(head.key, head.version, value[offset : self._offset], self._offset < len(value))

    def _forget(self, version: int) -> None:
        """Drop acked tombstones and acked volatile records."""
        while self._fleeting is not None:
            key, fleeting = next(iter(self._fleeting.items()))
            if fleeting > version:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        assert self._fleeting is not None
        self._forgotten = max(self._forgotten, self._fleeting.pop(key))
        del self._records[key]
        if not self._fleeting:
            self._fleeting = None
