"""The receiving side of one lane: what the other end has put there, as far as it has arrived.

    (the wire) -> apply -> Applied: what changed, and the ack to send        after a cut: cut(), then `cursor`

Two positions: the *ack* tells the sender how far this stream has come, the *cursor* from where a new stream
may go on. They differ while a value arrives in chunks and while a snapshot is under way: neither can be
continued on another stream, so the cursor waits for the last chunk, and for the snapshot's end.

Pure: no I/O, no clock. Knows nothing of kinds, sessions or messages; never reads a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from arbora.errors import InvalidInput
from arbora.mirror.records import MAX_VALUE_BYTES, Batch, Cursor, Record

_NOTHING_YET = Cursor()


@dataclass(frozen=True, slots=True)
class Applied:
    """What a batch has done."""

    changed: tuple[str, ...]
    """Keys that are new or have other bytes than before."""
    removed: tuple[str, ...]
    """Keys that are gone."""
    ack: Cursor
    """Tells the sender how far this stream has come."""
    gap: bool = False
    """Something before this batch was lost, so nothing was changed: end the stream and resume."""


class _Partial:
    """A value whose last chunk has not come yet."""

    __slots__ = ("key", "parts", "size", "version")

    def __init__(self, key: str, version: int) -> None:
        self.key = key
        self.version = version
        self.parts: list[bytes] = []
        self.size = 0


class Inbox:
    """One lane of the map that the other end owns."""

    __slots__ = ("_begun", "_cursor", "_items", "_max_value_bytes", "_named", "_partial", "_reached")

    def __init__(
        self,
        items: Mapping[str, bytes] | None = None,
        cursor: Cursor = _NOTHING_YET,
        *,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Start empty, or with `items` and `cursor` as they were saved together.

        max_value_bytes: largest value that is accepted, whole or in chunks.
        """
        self._items: dict[str, bytes] = dict(items or ())
        self._cursor = cursor
        self._max_value_bytes = max_value_bytes
        self._reached = cursor  # how far this stream has come
        self._begun = False  # this stream has brought something
        self._named: set[str] | None = None  # while a snapshot arrives: the keys it has named
        self._partial: _Partial | None = None

    @property
    def cursor(self) -> Cursor:
        """From where a new stream may go on."""
        return self._cursor

    @property
    def items(self) -> Mapping[str, bytes]:
        """What is there now; a read-only view."""
        return MappingProxyType(self._items)

    def get(self, key: str) -> bytes | None:
        """The present value."""
        return self._items.get(key)

    def discard(self, key: str) -> None:
        """Forget a value that was consumed. The sender does not hear of it."""
        self._items.pop(key, None)

    def cut(self) -> None:
        """The stream is gone: forget what can't be continued on another one."""
        self._begun = False
        self._named = None
        self._partial = None
        self._reached = self._cursor

    def apply(self, batch: Batch) -> Applied:
        """Take in what is new in `batch`; a repeated one changes nothing.

        Raises InvalidInput if a value is larger than allowed; the stream must then end.
        """
        # A sender starts a snapshot only at the start of a stream. The same batch later is a repeat.
        starts = batch.snapshot and batch.after == 0 and not (self._begun and batch.epoch == self._reached.epoch)
        reached = Cursor(batch.epoch) if starts else self._reached
        in_snapshot = starts or self._named is not None
        ends = in_snapshot and batch.snapshot_end
        if batch.epoch != reached.epoch or batch.after > reached.version:
            return self._gap()
        if batch.upto <= reached.version and not ends:
            return Applied((), (), reached)
        if batch.snapshot != in_snapshot or not self._continues(batch, reached, starts):
            return self._gap()
        self._check_sizes(batch)
        if starts:
            self._named = set()
            self._partial = None
        self._begun = True
        changed, removed = self._take(batch.records, reached.version)
        self._reached = reached = Cursor(batch.epoch, batch.upto)
        if ends and self._named is not None:
            gone = self._items.keys() - self._named
            for key in gone:
                del self._items[key]
            removed.extend(sorted(gone))
            self._named = None
        if self._named is None and self._partial is None:
            self._cursor = reached
        return Applied(tuple(changed), tuple(removed), reached)

    def _gap(self) -> Applied:
        return Applied((), (), self._reached, gap=True)

    def _continues(self, batch: Batch, reached: Cursor, starts: bool) -> bool:
        """Whether a batch that goes on with the present partial value does so at the right byte."""
        if starts or len(batch.records) != 1 or not self._is_partial(record := batch.records[0]):
            return True
        begin = (batch.upto if record.more else record.version) - len(record.value or b"")
        return begin == reached.version

    def _is_partial(self, record: Record) -> bool:
        partial = self._partial
        return (
            partial is not None
            and record.value is not None
            and record.version == partial.version
            and record.key == partial.key
        )

    def _check_sizes(self, batch: Batch) -> None:
        for record in batch.records:
            value = record.value
            if value is None:
                continue
            size = len(value)
            if self._partial is not None and self._is_partial(record):
                size += self._partial.size
            if size > self._max_value_bytes:
                raise InvalidInput(
                    f"the value of {record.key} has more than {self._max_value_bytes} bytes",
                    hint="Split it over several keys.",
                    field="batch.records",
                )

    def _take(self, records: tuple[Record, ...], reached: int) -> tuple[list[str], list[str]]:
        """Apply the records above `reached`; returns the keys that changed and those that are gone."""
        changed: list[str] = []
        removed: list[str] = []
        items, named = self._items, self._named
        # If the value that was arriving does not go on here, it has changed meanwhile: the rest never comes.
        partial = self._partial if len(records) == 1 and self._is_partial(records[0]) else None
        self._partial = None
        for record in records:
            key, value = record.key, record.value
            if record.version <= reached:
                continue
            if record.more or partial is not None:
                value = self._assemble(partial or _Partial(key, record.version), record)
                if value is None:
                    continue
            if value is None:
                if items.pop(key, None) is not None:
                    removed.append(key)
                continue
            if named is not None:
                named.add(key)
            if items.get(key) != value:
                items[key] = value
                changed.append(key)
        return changed, removed

    def _assemble(self, partial: _Partial, record: Record) -> bytes | None:
        """Add a chunk; the whole value with the last one."""
        chunk = record.value or b""
        partial.parts.append(chunk)
        partial.size += len(chunk)
        if record.more:
            self._partial = partial
            return None
        return b"".join(partial.parts)
