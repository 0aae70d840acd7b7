"""How long to wait before dialing again: full jitter, so that a thousand children never come at once. Pure."""

from __future__ import annotations

BASE_SECONDS = 0.5
CAP_SECONDS = 30.0


class Backoff:
    """Full jitter: uniform between 0 and min(cap, base * 2^attempt).

    Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015.
    """

    __slots__ = ("_attempt", "_base", "_cap")

    def __init__(self, base: float = BASE_SECONDS, cap: float = CAP_SECONDS) -> None:
        self._base = base
        self._cap = cap
        self._attempt = 0

    def next(self, chance: float) -> float:
        """Seconds to wait now; `chance` is uniform in [0, 1)."""
        ceiling = min(self._cap, self._base * 2.0 ** min(self._attempt, 32))
        self._attempt += 1
        return ceiling * chance

    def succeeded(self) -> None:
        """Start from the beginning next time."""
        self._attempt = 0
