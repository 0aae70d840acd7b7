"""How the command line puts messages into words: states, ages, counts of GPUs, and their colours.

Pure but for the present moment, which can be given.
"""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from arbora.cli.durations import show_duration
from arbora.cli.plain import enum_word
from arbora.v1 import member_pb2, workload_pb2

_GOOD, _FAIR, _BAD, _DIM = "green", "yellow", "red", "dim"
_LIVENESS = {
    member_pb2.LIVENESS_ONLINE: _GOOD,
    member_pb2.LIVENESS_SUSPECT: _FAIR,
    member_pb2.LIVENESS_LOST: _BAD,
    member_pb2.LIVENESS_JOINING: _DIM,
}
_STATE = {
    workload_pb2.WORKLOAD_STATE_AVAILABLE: _GOOD,
    workload_pb2.WORKLOAD_STATE_COMPLETE: _GOOD,
    workload_pb2.WORKLOAD_STATE_APPLIED: _FAIR,
    workload_pb2.WORKLOAD_STATE_PROGRESSING: _FAIR,
    workload_pb2.WORKLOAD_STATE_DEGRADED: _BAD,
}


def member_state(member: member_pb2.Member) -> str:
    """`Online`, `Lost,Cordoned`."""
    word = enum_word(member_pb2.Liveness.DESCRIPTOR, member.liveness)
    return f"{word},Cordoned" if member.cordoned else word


def member_style(member: member_pb2.Member) -> str:
    """The colour of its state."""
    return _FAIR if member.cordoned else _LIVENESS.get(member.liveness, "")


def workload_state(number: int) -> str:
    """`Available`, `Degraded`."""
    return enum_word(workload_pb2.WorkloadState.DESCRIPTOR, number)


def workload_style(number: int) -> str:
    """The colour of a state."""
    return _STATE.get(number, _DIM)  # type: ignore[call-overload, no-any-return]


def member_gpus(member: member_pb2.Member) -> str:
    """`12/32`: free of all; `-` if it has none."""
    rows = [row for sketch in member.sketches for row in sketch.rows]
    total = sum(row.total for row in rows)
    return f"{sum(row.free for row in rows)}/{total}" if total else "-"


def duration(value: Duration) -> str:
    """`2m3s`."""
    return show_duration(value.ToTimedelta().total_seconds())


def age(time: Timestamp, now: datetime | None = None) -> str:
    """How long ago: `2m3s`."""
    passed = (now or datetime.now(UTC)) - time.ToDatetime(tzinfo=UTC)
    return show_duration(max(0.0, float(int(passed.total_seconds()))))


def until(time: Timestamp, now: datetime | None = None) -> str:
    """How long until then: `2m3s`, or `over`."""
    left = (time.ToDatetime(tzinfo=UTC) - (now or datetime.now(UTC))).total_seconds()
    return show_duration(float(int(left)) or left) if left > 0 else "over"


def clock(time: Timestamp, now: datetime | None = None) -> str:
    """Local time: `18:47:44` if it was today, else `Nov 22 18:47`."""
    then = time.ToDatetime(tzinfo=UTC).astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return then.strftime("%H:%M:%S" if then.date() == today else "%b %d %H:%M")


def moment(time: Timestamp) -> str:
    """Local date and time to the second."""
    return time.ToDatetime(tzinfo=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
