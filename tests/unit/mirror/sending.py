"""An Outbox at work, for the tests of it."""

from __future__ import annotations

from arbora.mirror.outbox import Outbox
from arbora.mirror.records import Batch, Cursor

BIG = 1000


def connected(*keys: str, window: int = 16) -> Outbox:
    """An outbox whose receiver has everything: one value for each of `keys`."""
    outbox = Outbox(7, window=window)
    for key in keys:
        outbox.put(key, b"1")
    drain(outbox)
    return outbox


def drain(outbox: Outbox, limit: int = BIG) -> list[Batch]:
    """Everything that is unsent, acked as it goes."""
    batches = []
    while (batch := outbox.next_batch(limit)) is not None:
        batches.append(batch)
        outbox.ack(Cursor(batch.epoch, batch.upto))
    return batches


def sent(batch: Batch | None) -> list[tuple[str, bytes | None]]:
    assert batch is not None
    return [(record.key, record.value) for record in batch.records]
