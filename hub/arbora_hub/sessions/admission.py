"""How many sessions a hub accepts per second, so that a herd after a restart doesn't trample it. Pure."""

from __future__ import annotations


class Admission:
    """A token bucket that holds one second's worth."""

    __slots__ = ("_rate", "_tokens", "_updated")

    def __init__(self, rate: float, now: float) -> None:
        """rate: sessions per second."""
        self._rate = rate
        self._tokens = rate
        self._updated = now

    def admit(self, now: float) -> bool:
        """Whether one more session may begin now."""
        self._tokens = min(self._rate, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def retry_after(self, waiting: int) -> float:
        """Seconds after which a child should come back while `waiting` others want in, too."""
        return 0.5 + waiting / self._rate


def reconnect_window(children: int, rate: float) -> float:
    """Seconds over which children spread their return, told in Welcome: they then come at `rate`."""
    return min(120.0, max(0.2, children / rate))
