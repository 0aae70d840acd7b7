"""How present a child is, by this hub's monotonic clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Liveness(IntEnum):
    """The numbers are those of the wire."""

    JOINING = 1
    ONLINE = 2
    SUSPECT = 3
    LOST = 4


@dataclass(frozen=True, slots=True)
class Terms:
    """What liveness is judged by, in seconds."""

    heartbeat_interval: float
    lease_duration: float
    startup_grace: float


def judge(
    *, connected: bool, heard: float | None, ever_connected: bool, now: float, started: float, terms: Terms
) -> Liveness:
    """Liveness of one child.

    heard: when this process last heard of it (monotonic); None: not since this process started.
    ever_connected: whether it has ever been connected, also to an earlier process of this hub.
    started: when this process started. A child that a restarted hub has not heard of yet is Suspect, not
    Lost, until the lease has run from the start *and* the grace is over.
    """
    if not ever_connected:
        return Liveness.JOINING
    silent = now - (heard if heard is not None else started)
    if silent > terms.lease_duration and now - started > terms.startup_grace:
        return Liveness.LOST
    if not connected or silent > 2 * terms.heartbeat_interval + 1.0:
        return Liveness.SUSPECT
    return Liveness.ONLINE
