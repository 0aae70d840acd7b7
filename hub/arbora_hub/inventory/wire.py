"""Facts of a child as messages, as clients and the hub above see them."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from arbora.capacity.wire import EFFECT_TO_WIRE
from arbora.v1 import enrollment_pb2, member_pb2
from arbora_hub.store.rows import TaintRow

KIND_TO_WIRE = {"agent": enrollment_pb2.CHILD_KIND_AGENT, "hub": enrollment_pb2.CHILD_KIND_HUB}
"""By `ChildRow.kind`."""


def timestamp(seconds: float) -> Timestamp:
    """From seconds since the epoch."""
    message = Timestamp()
    message.FromMicroseconds(int(seconds * 1e6))
    return message


def taint(row: TaintRow) -> member_pb2.Taint:
    """One taint."""
    return member_pb2.Taint(
        key=row.key, value=row.value, effect=EFFECT_TO_WIRE[row.effect], added=timestamp(row.added)
    )
