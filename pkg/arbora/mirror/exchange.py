"""One end of a session: the map that goes out and the map that comes in, each in two lanes.

    put, delete -> next_frame -> (the wire) -> received, acked -> received_value
    a stream starts: the ends tell each other `cursors()` and call `resume`        it ends: `cut()`

Used alike by the dialing and the accepting side, and outlives every session between the two. Pure: no I/O,
no clock, no messages; who calls it decides when to send, and wakes its writer when `put` or `delete` say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from arbora.mirror.inbox import Applied, Inbox
from arbora.mirror.outbox import WINDOW, Outbox
from arbora.mirror.records import MAX_VALUE_BYTES, Batch, Cursor, Lane

CONTROL_KINDS = frozenset(
    {
        "token-request",
        "token",
        "grant-request",
        "grant",
        "call",
        "answer",
        "tunnel",
        "settings",
        "reservation",
        "offer",
        "offer-request",
        "status",
        "event",
        "gpu",
    }
)
"""Kinds whose records are small and urgent."""


def lane_of(key: str) -> Lane:
    """The lane in which `key` travels, by its kind: the text before the first '/'."""
    return Lane.CONTROL if key.partition("/")[0] in CONTROL_KINDS else Lane.BULK


@dataclass(frozen=True, slots=True)
class Frame:
    """What goes out next."""

    lane: Lane
    """Of the batch; without one it means nothing."""
    batch: Batch | None
    acks: tuple[tuple[Lane, Cursor], ...] = ()


class Exchange:
    """Both maps between this end and one other."""

    __slots__ = ("_acks", "_inboxes", "_open", "_outboxes")

    def __init__(
        self,
        epoch: int,
        *,
        inboxes: Mapping[Lane, Inbox] | None = None,
        window: int = WINDOW,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Start with an empty map to send, and with what of the other end's map was saved, if anything.

        epoch: random, 1 to 2**63 - 1, new whenever this end has lost its memory.
        inboxes: restored receivers; a lane that is missing starts empty.
        window: un-acked batches per lane.
        max_value_bytes: largest value, both ways.
        Raises InvalidInput.
        """
        saved = inboxes or {}
        self._outboxes = tuple(Outbox(epoch, window=window, max_value_bytes=max_value_bytes) for _ in Lane)
        self._inboxes = tuple(saved.get(lane) or Inbox(max_value_bytes=max_value_bytes) for lane in Lane)
        self._acks: dict[Lane, Cursor] | None = None
        self._open = False

    # The map that goes out.

    def put(self, key: str, value: bytes, *, volatile: bool = False) -> bool:
        """Set `key` of our map; returns whether there is something new to send. Raises InvalidInput.

        volatile: forget the record once the other end has acked it.
        """
        return self.outbox(lane_of(key)).put(key, value, volatile=volatile)

    def delete(self, key: str) -> bool:
        """Delete `key` of our map; returns whether there is something new to send."""
        return self.outbox(lane_of(key)).delete(key)

    def get(self, key: str) -> bytes | None:
        """The value of `key` in our map."""
        return self.outbox(lane_of(key)).get(key)

    # The map that comes in.

    def received_value(self, key: str) -> bytes | None:
        """The value of `key` in the other end's map, as far as it has arrived."""
        return self.inbox(lane_of(key)).get(key)

    def received_items(self) -> Iterator[tuple[str, bytes]]:
        """The other end's map, as far as it has arrived."""
        for inbox in self._inboxes:
            yield from inbox.items.items()

    @property
    def received_count(self) -> int:
        """How many items the other end's map holds here; whoever accepts strangers' maps bounds it."""
        return sum(len(inbox.items) for inbox in self._inboxes)

    def discard(self, key: str) -> None:
        """Forget a received value that was consumed. The other end does not hear of it."""
        self.inbox(lane_of(key)).discard(key)

    # Streams.

    def cursors(self) -> tuple[tuple[Lane, Cursor], ...]:
        """How far we have come in the other end's map; for Hello and Welcome."""
        return tuple((lane, self.inbox(lane).cursor) for lane in Lane)

    def resume(self, cursors: Iterable[tuple[Lane, Cursor]]) -> None:
        """A stream starts, and the other end has come to `cursors`; a lane that is missing starts anew."""
        self.cut()
        told = dict(cursors)
        for lane in Lane:
            self.outbox(lane).resume(told.get(lane) or Cursor())
        self._open = True

    def cut(self) -> None:
        """The stream is gone. Nothing more is to be sent until `resume`."""
        self._open = False
        self._acks = None
        for inbox in self._inboxes:
            inbox.cut()

    def received(self, lane: Lane, batch: Batch) -> Applied:
        """Take in a batch; the ack goes out with the next frame. A gap means: end the stream and resume.

        Raises InvalidInput if a value is larger than allowed; the stream must then end.
        """
        applied = self.inbox(lane).apply(batch)
        if not applied.gap:
            if self._acks is None:
                self._acks = {}
            self._acks[lane] = applied.ack
        return applied

    def acked(self, lane: Lane, cursor: Cursor) -> None:
        """The other end has come to `cursor`; there may be more to send now."""
        self.outbox(lane).ack(cursor)

    def next_frame(self, max_bytes: int) -> Frame | None:
        """What to send next, control lane first; None if there is nothing, or no stream.

        max_bytes: limit of the records, as in Outbox.next_batch; lane, versions and acks add less than 200 bytes.
        """
        if not self._open:
            return None
        for lane, outbox in zip(Lane, self._outboxes, strict=True):
            batch = outbox.next_batch(max_bytes)
            if batch is not None:
                return Frame(lane, batch, self._take_acks())
        return Frame(Lane.CONTROL, None, self._take_acks()) if self._acks is not None else None

    @property
    def pending(self) -> bool:
        """Whether something is unsent or un-acked, or an ack is owed."""
        return self._acks is not None or any(outbox.pending for outbox in self._outboxes)

    def outbox(self, lane: Lane) -> Outbox:
        """One lane of our map."""
        return self._outboxes[lane - 1]

    def inbox(self, lane: Lane) -> Inbox:
        """One lane of the other end's map."""
        return self._inboxes[lane - 1]

    def _take_acks(self) -> tuple[tuple[Lane, Cursor], ...]:
        acks = self._acks
        self._acks = None
        return tuple(acks.items()) if acks is not None else ()
