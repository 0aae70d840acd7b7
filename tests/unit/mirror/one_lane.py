"""One lane between a sender and a receiver, and everything the world can do to it: a model for tests.

Values carry the step at which they were put, so the model knows which of two values is the older one without
asking the code under test. Every method is one thing that may happen at any moment; `settle` is the end.
"""

from __future__ import annotations

from arbora.mirror.inbox import Applied, Inbox
from arbora.mirror.outbox import Outbox
from arbora.mirror.records import Batch, Cursor, record_bytes

LIMIT = 64
WINDOW = 3


def born(value: bytes) -> int:
    """The step at which a value was put."""
    return int(value[:6])


class OneLane:
    """One sender, one receiver, the stream between them, and what a just observer knows of all three."""

    def __init__(self) -> None:
        self.step = 0
        self.epoch = 1
        self.outbox = Outbox(self.epoch, window=WINDOW)
        self.inbox = Inbox()
        # What the sender's owner knows.
        self.truth: dict[str, tuple[bytes, bool]] = {}
        self.values: dict[int, tuple[str, bytes]] = {}
        self.absent: dict[str, int] = {}  # the last step at which the sender did not have the key
        self.consumed: set[int] = set()  # volatile values that were acked
        # The stream. A number stands for a lost batch, which would have ended there.
        self.up = False
        self.wire: list[Batch | int] = []
        self.delivered: list[Batch] = []
        self.acks: list[Cursor] = []
        self.lost_upto = -1
        self.disturbed = False
        # The receiver.
        self.hello: Cursor | None = None
        self.saved: list[tuple[dict[str, bytes], Cursor]] = []
        self.seen: dict[str, tuple[int, int]] = {}
        self.reached = 0

    # The sender's owner.

    def put(self, key: str, padding: int, volatile: bool) -> None:
        self.step += 1
        value = b"%06d" % self.step + b"." * padding
        self.values[self.step] = (key, value)
        assert self.outbox.put(key, value, volatile=volatile)
        self.truth[key] = (value, volatile)

    def put_the_same_again(self, key: str) -> None:
        if key in self.truth:
            value, volatile = self.truth[key]
            version = self.outbox.version
            assert not self.outbox.put(key, value, volatile=volatile)
            assert self.outbox.version == version

    def delete(self, key: str) -> None:
        self.step += 1
        assert self.outbox.delete(key) == (self.truth.pop(key, None) is not None)
        self.absent[key] = self.step

    def restart_the_sender(self, dropped: set[str], changed: set[str], order: list[str], reconnect: int) -> None:
        self.cut_the_stream()
        self.step += 1
        self.epoch += 1
        self.outbox = Outbox(self.epoch, window=WINDOW)
        durable = {key: value for key, (value, volatile) in self.truth.items() if not volatile}
        for key in self.truth.keys() - (durable.keys() - dropped):
            self.absent[key] = self.step
        self.truth = {}
        for key in order:
            if key in durable and key not in dropped:
                if key in changed:
                    self.put(key, 20, False)
                else:
                    self.outbox.put(key, durable[key])
                    self.truth[key] = (durable[key], False)
        self.reconnect(reconnect)

    # The way down.

    def send(self, limit: int, count: int) -> None:
        if not self.up:
            return
        for _ in range(count):
            batch = self.outbox.next_batch(limit)
            if batch is None:
                return
            assert sum(map(record_bytes, batch.records)) <= limit or len(batch.records) == 1
            self.wire.append(batch)

    def deliver(self, count: int) -> None:
        for _ in range(min(count, len(self.wire))):
            batch = self.wire.pop(0)
            if isinstance(batch, int):
                self.lost_upto = max(self.lost_upto, batch)
            elif not self.take(batch):
                return

    def repeat(self, index: int) -> None:
        if not self.delivered:
            return
        before = dict(self.inbox.items)
        cursor = self.inbox.cursor
        applied = self.inbox.apply(self.delivered[index % len(self.delivered)])
        assert applied == Applied((), (), applied.ack)
        assert dict(self.inbox.items) == before
        assert self.inbox.cursor == cursor
        self.acks.append(applied.ack)

    def lose(self, index: int, count: int) -> None:
        if not self.up:
            return
        self.send(30, count)
        if not self.wire:
            return
        index %= len(self.wire)
        batch = self.wire[index]
        if isinstance(batch, Batch):
            self.wire[index] = batch.upto
            self.disturbed = True
        self.deliver(count)

    # The way up.

    def deliver_an_ack(self, index: int) -> None:
        if not self.acks:
            return
        self.outbox.ack(self.acks.pop(index % len(self.acks)))
        self.note_consumed()

    def lose_an_ack(self, index: int) -> None:
        if not self.acks:
            return
        self.acks.pop(index % len(self.acks))
        self.disturbed = True

    # Streams.

    def connect(self) -> None:
        if self.up:
            return
        cursor = self.inbox.cursor if self.hello is None else self.hello
        self.hello = None
        self.outbox.resume(cursor)
        self.note_consumed()
        self.up = True
        self.disturbed = False
        self.lost_upto = -1
        self.reached = self.inbox.cursor.version

    def say_hello_on_the_next_stream(self) -> None:
        """A child that moves to a new connection says where it stands before the old one has ended."""
        if not self.up:
            return
        self.hello = self.inbox.cursor

    def cut(self, reconnect: int) -> None:
        self.cut_the_stream()
        self.reconnect(reconnect)

    # The receiver's owner.

    def save(self) -> None:
        self.saved = [*self.saved[-2:], (dict(self.inbox.items), self.inbox.cursor)]

    def restart_the_receiver(self, index: int, reconnect: int) -> None:
        self.cut_the_stream()
        self.hello = None
        self.seen = {}
        self.inbox = Inbox(*self.saved[index]) if 0 <= index < len(self.saved) else Inbox()
        self.reconnect(reconnect)

    def discard_what_was_consumed(self, key: str) -> None:
        value = self.inbox.get(key)
        if value is not None and born(value) in self.consumed:
            self.inbox.discard(key)

    # What is always true.

    def the_sender_holds_what_its_owner_put(self) -> None:
        assert dict(self.outbox) == {key: value for key, (value, _) in self.truth.items()}
        assert len(self.outbox) == len(self.truth)

    def memory_is_bounded(self) -> None:
        assert self.outbox.tombstones <= len(self.absent)
        assert self.outbox._in_flight is None or len(self.outbox._in_flight) <= WINDOW
        assert len(self.outbox._records) == len(self.truth) + self.outbox.tombstones
        for table in (self.outbox._unsent, self.outbox._unnamed, self.outbox._fleeting):
            assert table is None or len(table) <= len(self.outbox._records)

    # Steps that rules share.

    def flow(self) -> None:
        if self.up:
            self.send(LIMIT, 3)
            self.deliver(4)
            while self.acks:
                self.deliver_an_ack(0)

    def reconnect(self, count: int) -> None:
        if count >= 0:
            self.connect()
            self.send(30, count)
            self.deliver(count)

    def cut_the_stream(self) -> None:
        self.up = False
        self.wire = []
        self.delivered = []
        self.inbox.cut()

    def take(self, batch: Batch) -> bool:
        """Deliver a batch for the first time; False if that ended the stream."""
        before = dict(self.inbox.items)
        applied = self.inbox.apply(batch)
        if applied.gap:
            assert self.lost_upto >= 0, "a gap, and nothing was lost"
            assert dict(self.inbox.items) == before
            self.cut_the_stream()
            return False
        if applied.changed or applied.removed:
            assert self.lost_upto <= self.reached, "a loss went unnoticed"
        self.reached = applied.ack.version
        self.delivered.append(batch)
        self.acks.append(applied.ack)
        for key in applied.changed:
            value = self.inbox.items[key]
            assert self.values[born(value)] == (key, value)
            epoch, step = self.seen.get(key, (0, 0))
            assert epoch != self.epoch or born(value) > step, "a key went back to an older value"
            self.seen[key] = (self.epoch, born(value))
        for key in applied.removed:
            assert self.absent.get(key, 0) > born(before[key]), "a key was removed that was always there"
        untouched = before.keys() - set(applied.changed) - set(applied.removed)
        assert all(self.inbox.get(key) == before[key] for key in untouched)
        return True

    def note_consumed(self) -> None:
        self.step += 1
        for key, (value, volatile) in list(self.truth.items()):
            if volatile and self.outbox.get(key) is None:
                self.consumed.add(born(value))
                self.absent[key] = self.step
                del self.truth[key]

    def settle(self) -> None:
        """From now on the link stays up."""
        if self.up and self.disturbed:
            self.cut_the_stream()
        if not self.up:
            self.connect()
        bound = len(self.wire) + self.outbox.tombstones + 2
        bound += sum(len(value) // (LIMIT - 17) + 2 for _, value in self.outbox)
        while self.wire or self.acks or self.outbox.pending:
            batch = self.wire.pop(0) if self.wire else self.outbox.next_batch(LIMIT)
            if isinstance(batch, Batch):
                bound -= 1
                assert self.take(batch)
            else:
                assert self.acks, "the sender waits for acks that nobody owes"
            for ack in self.acks:
                self.outbox.ack(ack)
            self.acks = []
            self.note_consumed()
        assert bound >= 0, "too many batches"
        ours, theirs = dict(self.outbox), dict(self.inbox.items)
        assert ours == {key: value for key, (value, _) in self.truth.items()}
        assert ours == {key: value for key, value in theirs.items() if key in ours}
        assert all(born(theirs[key]) in self.consumed for key in theirs.keys() - ours.keys())
        assert self.inbox.cursor == Cursor(self.epoch, self.outbox.version)
        assert self.outbox.tombstones == 0
        self.memory_is_bounded()
