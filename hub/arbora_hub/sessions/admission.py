"""How many sessions a hub accepts per second, so that a herd after a restart doesn't trample it. Pure."""

from __future__ import annotations

SOONEST = 0.5
"""Seconds that a refused child stays away at least."""


class Admission:
    """A token bucket that holds one second's worth, and a queue of moments for those that it refused.

    Each refused child is told a moment of its own, at the rate at which the bucket fills, so that the hub is
    never idle while children wait. Who comes early keeps its moment: haste moves nobody's further away.
    """

    __slots__ = ("_last", "_moments", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, now: float) -> None:
        """rate: sessions per second."""
        self._rate = rate
        self._tokens = rate
        self._updated = now
        self._last = now
        self._moments: dict[str, float] = {}

    def admit(self, name: str, now: float) -> bool:
        """Whether a session of the child `name` may begin now."""
        self._tokens = min(self._rate, self._tokens + (now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        self._moments.pop(name, None)
        return True

    def retry_after(self, name: str, now: float) -> float:
        """Seconds after which the child `name`, which was refused, should come back."""
        moment = self._moments.get(name)
        if moment is None or moment < now:
            self._last = max(self._last, now) + 1.0 / self._rate
            moment = self._moments[name] = self._last
        return SOONEST + moment - now


def reconnect_window(children: int, rate: float) -> float:
    """Seconds over which children spread their return, told in Welcome: they then come at `rate`."""
    return min(120.0, max(0.2, children / rate))
