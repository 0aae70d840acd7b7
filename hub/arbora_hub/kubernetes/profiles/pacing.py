"""When a profile is written: only for a change, seldom, and soon where it matters. Pure.

    nothing to change                             nothing
    a change                                      after it has lasted a moment, and a gap after the last write
    a change of health, or there is no profile    at once; a second time within the gap it waits, too

A consumer such as Kueue builds its connection to a member anew at every write (KEP-4322: 30 s between two).
What lasts only a moment, as while an agent restarts, is not written at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

GAP_SECONDS = 30.0
SETTLE_SECONDS = 3.0
"""How long a change must last that is not urgent."""
PAUSE_SECONDS = 1.0
"""Between any two writes, so that what was written is seen before it is judged."""

Decision = float | Literal["nothing"]
"""Seconds until it may be written (0: now), or that there is nothing to write."""


@dataclass(slots=True)
class Pacer:
    """Of one profile. Times are seconds of one clock."""

    gap: float = GAP_SECONDS
    settle: float = SETTLE_SECONDS
    last: float | None = None
    """When it was last written."""
    hurried: bool = False
    """The last write was ahead of its time."""
    changed: float | None = None
    """Since when there is something to write."""

    def decide(self, now: float, *, differs: bool, urgent: bool = False) -> Decision:
        """differs: what stands there is not what is wanted. urgent: health differs, or nothing stands there."""
        if not differs:
            self.changed = None
            return "nothing"
        if self.changed is None:
            self.changed = now
        settled = self.changed if urgent else self.changed + self.settle
        if self.last is None:
            due = settled
        elif urgent and not self.hurried:
            due = max(settled, self.last + min(PAUSE_SECONDS, self.gap))
        else:
            due = max(settled, self.last + self.gap)
        return max(0.0, due - now)

    def wrote(self, now: float) -> None:
        """It was written."""
        self.hurried = self.last is not None and now < self.last + self.gap
        self.last = now
        self.changed = None
