"""What the wire accepts, and that it carries everything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbora.errors import InvalidInput
from arbora.mirror import wire
from arbora.mirror.outbox import Outbox
from arbora.mirror.records import Batch, Cursor, Lane, Record
from arbora.v1 import session_pb2 as pb


def good() -> pb.Batch:
    """A batch that is accepted, for a test to break."""
    return wire.batch_to_wire(Lane.BULK, Batch(7, 10, 13, (Record("a", 11, b"1"), Record("b", 12, None))))


def good_chunk() -> pb.Batch:
    return wire.batch_to_wire(Lane.BULK, Batch(7, 10, 12, (Record("a", 15, b"12", more=True),)))


@pytest.mark.parametrize("lane", Lane)
def test_a_batch_arrives_as_it_was_sent(lane: Lane) -> None:
    records = (Record("a", 5, b"value"), Record("b", 6, b""), Record("c", 9, None))
    for batch in (
        Batch(2**63 - 1, 4, 9, records),
        Batch(7, 0, 9, records, snapshot=True),
        Batch(7, 0, 0, (), snapshot=True, snapshot_end=True),
        Batch(7, 4, 6, (Record("a", 9, b"12", more=True),)),
    ):
        message = pb.Batch.FromString(wire.batch_to_wire(lane, batch).SerializeToString())
        assert wire.batch_from_wire(message) == (lane, batch)


@pytest.mark.parametrize("cursor", [Cursor(), Cursor(7, 0), Cursor(2**63 - 1, 2**63)])
def test_a_cursor_arrives_as_it_was_sent(cursor: Cursor) -> None:
    message = pb.Cursor.FromString(wire.cursor_to_wire(Lane.CONTROL, cursor).SerializeToString())
    assert wire.cursor_from_wire(message) == (Lane.CONTROL, cursor)


def _set(path: str, value: object) -> Callable[[pb.Batch], None]:
    """Sets `field` or `index.field` of a record."""

    def change(message: pb.Batch) -> None:
        index, _, field = path.rpartition(".")
        setattr(message.records[int(index)] if index else message, field, value)

    change.__name__ = f"{path}={str(value)[:20]}"
    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_set("lane", 0), "batch.lane"),
        (_set("lane", 9), "batch.lane"),
        (_set("epoch", 0), "batch.epoch"),
        (_set("upto", 9), "batch.upto"),
        (_set("upto", 11), "batch.upto"),
        (_set("after", 11), "batch.records[0].version"),
        (_set("snapshot_end", True), "batch.snapshot_end"),
        (_set("1.version", 11), "batch.records[1].version"),
        (_set("0.version", 0), "batch.records[0].version"),
        (_set("0.key", ""), "batch.records[0].key"),
        (_set("0.key", "k" * 513), "batch.records[0].key"),
        (_set("0.key", "ä" * 257), "batch.records[0].key"),
        (_set("0.deleted", True), "batch.records[0]"),
        (_set("1.more", True), "batch.records[1]"),
        (_set("0.more", True), "batch.records"),
    ],
    ids=lambda part: part.__name__ if callable(part) else "",
)
def test_a_wrong_batch_is_refused_and_the_field_named(change: Callable[[pb.Batch], None], field: str) -> None:
    message = good()
    wire.batch_from_wire(message)
    change(message)
    with pytest.raises(InvalidInput) as caught:
        wire.batch_from_wire(message)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "change",
    [_set("upto", 15), _set("upto", 10), _set("0.value", b""), _set("0.version", 12)],
    ids=lambda part: part.__name__,
)
def test_a_wrong_chunk_is_refused(change: Callable[[pb.Batch], None]) -> None:
    message = good_chunk()
    wire.batch_from_wire(message)
    change(message)
    with pytest.raises(InvalidInput):
        wire.batch_from_wire(message)


def test_a_chunk_travels_alone_and_never_ends_a_snapshot() -> None:
    message = good_chunk()
    message.snapshot = message.snapshot_end = True
    with pytest.raises(InvalidInput):
        wire.batch_from_wire(message)
    message = good()
    message.records.append(pb.Record(key="c", version=20, value=b"1", more=True))
    with pytest.raises(InvalidInput):
        wire.batch_from_wire(message)


def test_a_wrong_cursor_is_refused() -> None:
    for message in (pb.Cursor(epoch=7), pb.Cursor(lane=wire.LANE_TO_WIRE[Lane.BULK], version=1)):
        with pytest.raises(InvalidInput):
            wire.cursor_from_wire(message)


def test_an_error_never_shows_a_value() -> None:
    message = wire.batch_to_wire(Lane.BULK, Batch(7, 10, 13, (Record("a", 9, b"s3cret"),)))
    with pytest.raises(InvalidInput) as caught:
        wire.batch_from_wire(message)
    assert "s3cret" not in str(caught.value) + repr(caught.value)


# settings: about 1 s.
@settings(max_examples=60, deadline=None, database=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 200), st.integers(0, 5000)), min_size=1, max_size=60),
    limit=st.integers(600, 20_000),
    past=st.integers(0, 2**22),
)
def test_a_message_is_hardly_larger_than_its_limit(sizes: list[tuple[int, int]], limit: int, past: int) -> None:
    outbox = Outbox(2**63 - 1)
    outbox._version = past * 2**20  # up to 4 TiB were sent before
    for number, (key, value) in enumerate(sizes):
        outbox.put(f"{number:03d}" + "k" * key, b"v" * value)
    for _ in range(16):
        batch = outbox.next_batch(limit)
        if batch is not None:
            assert wire.batch_to_wire(Lane.BULK, batch).ByteSize() <= limit + 200
