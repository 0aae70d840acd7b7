"""Conversion between the mirror's data and its messages (session.proto: Batch, Record, Cursor, Lane).

Whatever comes in is checked here, once, before anything of it is used; errors name the field and never
show a value. Must not decide anything: what a batch does is the business of `inbox.py`.
"""

from __future__ import annotations

from arbora.errors import InvalidInput
from arbora.mirror.records import MAX_KEY_BYTES, Batch, Cursor, Lane, Record, key_bytes
from arbora.v1 import session_pb2 as pb

LANE_TO_WIRE = {lane: pb.Lane.Value(f"LANE_{lane.name}") for lane in Lane}
"""Each lane's number, typed as the generated code wants it."""
_LANES: dict[int, Lane] = {number: lane for lane, number in LANE_TO_WIRE.items()}


def batch_to_wire(lane: Lane, batch: Batch) -> pb.Batch:
    """For a frame."""
    return pb.Batch(
        lane=LANE_TO_WIRE[lane],
        epoch=batch.epoch,
        after=batch.after,
        upto=batch.upto,
        records=[
            pb.Record(
                key=record.key,
                version=record.version,
                value=record.value or b"",
                deleted=record.value is None,
                more=record.more,
            )
            for record in batch.records
        ],
        snapshot=batch.snapshot,
        snapshot_end=batch.snapshot_end,
    )


def batch_from_wire(message: pb.Batch) -> tuple[Lane, Batch]:
    """Raises InvalidInput."""
    lane = _lane_from_wire(message.lane, "batch.lane")
    after, upto = message.after, message.upto
    if not message.epoch:
        raise InvalidInput("a batch needs an epoch", field="batch.epoch")
    if upto < after:
        raise InvalidInput(f"a batch can't end at {upto} if it follows on {after}", field="batch.upto")
    if message.snapshot_end and not message.snapshot:
        raise InvalidInput("only a snapshot has a snapshot's end", field="batch.snapshot_end")
    records: list[Record] = []
    previous = after
    for index, part in enumerate(message.records):
        record = _record_from_wire(part, index)
        if record.version <= previous:
            raise InvalidInput(
                f"version {record.version} of {record.key[:64]!r} must be above {previous}",
                field=f"batch.records[{index}].version",
            )
        previous = record.version
        records.append(record)
    if records and records[-1].more:
        if len(records) > 1 or message.snapshot_end or not after < upto < previous:
            raise InvalidInput(
                "a chunk travels alone and ends before its value does", field="batch.records[0].more"
            )
    elif any(record.more for record in records):
        raise InvalidInput("a chunk travels alone", field="batch.records")
    elif previous > upto:
        raise InvalidInput(f"version {previous} is beyond the end of the batch, {upto}", field="batch.upto")
    return lane, Batch(message.epoch, after, upto, tuple(records), message.snapshot, message.snapshot_end)


def cursor_to_wire(lane: Lane, cursor: Cursor) -> pb.Cursor:
    """For Hello, Welcome and acks."""
    return pb.Cursor(lane=LANE_TO_WIRE[lane], epoch=cursor.epoch, version=cursor.version)


def cursor_from_wire(message: pb.Cursor) -> tuple[Lane, Cursor]:
    """Raises InvalidInput. Epoch 0 with version 0 is valid: nothing received yet."""
    lane = _lane_from_wire(message.lane, "cursor.lane")
    if not message.epoch and message.version:
        raise InvalidInput(f"version {message.version} needs an epoch", field="cursor.epoch")
    return lane, Cursor(message.epoch, message.version)


def _lane_from_wire(number: int, field: str) -> Lane:
    lane = _LANES.get(number)
    if lane is None:
        raise InvalidInput(f"there is no lane {number}", field=field)
    return lane


def _record_from_wire(message: pb.Record, index: int) -> Record:
    key = message.key
    if not key or key_bytes(key) > MAX_KEY_BYTES:
        raise InvalidInput(
            f"the key {key[:64]!r} must have 1 to {MAX_KEY_BYTES} bytes", field=f"batch.records[{index}].key"
        )
    if message.deleted:
        if message.value or message.more:
            raise InvalidInput(f"{key[:64]!r} can't be deleted and have a value", field=f"batch.records[{index}]")
        return Record(key, message.version, None)
    if message.more and not message.value:
        raise InvalidInput(f"a chunk of {key[:64]!r} has no bytes", field=f"batch.records[{index}].value")
    return Record(key, message.version, message.value, message.more)
