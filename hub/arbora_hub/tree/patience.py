"""How long the caller of what is being done now still waits, told from hub to hub with a call.

Each hop keeps a tenth for itself: of two hubs that wait for one dead child, the nearer one gives up first, and
so can say which child it was. The clock is the loop's; only durations cross the wire.
"""

from __future__ import annotations

from contextvars import ContextVar

KEPT = 0.1
"""Part of the caller's patience that a hop keeps for its own answer."""

until: ContextVar[float | None] = ContextVar("until", default=None)
"""Loop time until which the caller waits; None: nobody said."""


def seconds_left(most: float, end: float | None, now: float) -> float:
    """How long to wait for somebody else, at most `most` seconds; never negative.

    end, now: until when the caller waits, and the present loop time.
    """
    return most if end is None else max(0.0, min(most, (end - now) * (1.0 - KEPT)))
