"""What is known against a GPU: one finding each, and what ends it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from arbora.gpus.health import Health

HOLD = 60.0
"""Seconds that a state lasts at least before a better one takes its place: nothing flaps faster."""
CLEAN = 600.0
"""Seconds without a fault after which a GPU has proved itself."""
DAY = 86_400.0
GRACE = 5.0
"""Seconds within which codes of one accident come together."""
SETTLED = 30.0
"""Seconds after an error before the driver's verdict that nothing is to be done is taken for its last word."""


class Ends(Enum):
    """What ends a finding."""

    READING = "reading"
    """A reading that no longer shows it."""
    RESET = "reset"
    """Evidence that the device was reset, or works: see `machine.py`."""
    TIME = "time"
    """Its end has come."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is known against a GPU."""

    code: str
    """Names it: xid-79, lost, remap-pending ..."""
    health: Health
    """The best that the GPU can be while this holds."""
    sentence: str
    at: float
    """When it was last seen or, of an error, when it happened."""
    ends: Ends
    until: float = 0.0
    """With TIME: when."""
