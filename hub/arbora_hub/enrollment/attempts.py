"""Failed attempts to join, per peer and per token: guessing must be slow. Pure; time is passed in.

A whole site behind NAT shares one address, so only failures count, never attempts that succeed.
"""

from __future__ import annotations

from collections import OrderedDict
from urllib.parse import unquote

WINDOW_SECONDS = 60.0
PER_SOURCE = 30
PER_TOKEN = 10
REMEMBERED = 10_000
"""Addresses and tokens remembered at once; the oldest are forgotten first."""


class Attempts:
    """Counts failures in a window that starts with the first one."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def allow(self, source: str, token_id: str, now: float) -> bool:
        """Whether one more attempt may be made."""
        return self._count(_host(source), now) < PER_SOURCE and self._count(f"token {token_id}", now) < PER_TOKEN

    def failed(self, source: str, token_id: str, now: float) -> None:
        """An attempt failed."""
        for key in (_host(source), f"token {token_id}"):
            since, count = self._failures.get(key, (now, 0))
            if now - since > WINDOW_SECONDS:
                since, count = now, 0
            self._failures[key] = (since, count + 1)
            self._failures.move_to_end(key)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)

    def _count(self, key: str, now: float) -> int:
        since, count = self._failures.get(key, (now, 0))
        return count if now - since <= WINDOW_SECONDS else 0


def _host(source: str) -> str:
    """The address without its port: grpc writes `ipv4:127.0.0.1:50312`."""
    return unquote(source).rpartition(":")[0]
