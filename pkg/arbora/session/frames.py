"""Frames of a session between the mirror's data and the messages of session.proto. Validates what comes in."""

from __future__ import annotations

from arbora.mirror import wire
from arbora.mirror.exchange import Frame
from arbora.v1 import session_pb2 as pb

STOPS = "the child stops"
"""The usual last word of a child."""
MOVED = "moved"
"""The last word of a hub that goes to another parent: it will not come back to this one."""


def up(frame: Frame | None) -> pb.Up:
    """What the child sends for `frame`; None is a heartbeat."""
    message = pb.Up()
    if frame is not None:
        if frame.batch is not None:
            message.batch.CopyFrom(wire.batch_to_wire(frame.lane, frame.batch))
        message.acks.extend(wire.cursor_to_wire(lane, cursor) for lane, cursor in frame.acks)
    return message


def down(frame: Frame | None) -> pb.Down:
    """What the hub sends for `frame`; None is a heartbeat."""
    message = pb.Down()
    if frame is not None:
        if frame.batch is not None:
            message.batch.CopyFrom(wire.batch_to_wire(frame.lane, frame.batch))
        message.acks.extend(wire.cursor_to_wire(lane, cursor) for lane, cursor in frame.acks)
    return message


def goodbye(refusal: int, message: str, retry_after: float | None = None) -> pb.Down:
    """The frame that ends or refuses a session; refusal: a value of the enum arbora.v1.Refusal."""
    down = pb.Down(goodbye=pb.Goodbye(message=message))
    down.goodbye.reason = refusal  # type: ignore[assignment]  # enums are plain ints at run time
    if retry_after is not None:
        down.goodbye.retry_after.FromMilliseconds(int(retry_after * 1000))
    return down
