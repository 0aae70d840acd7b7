"""Who wants to know that something changed: subscriptions that coalesce.

A subscriber that is slow sees fewer, newer changes; it never makes the hub remember more than one entry
per key, and never delays another subscriber.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager


class Subscription:
    """The keys that changed since they were last taken."""

    __slots__ = ("_keys", "_wake")

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._wake = asyncio.Event()

    def notify(self, key: str) -> None:
        """`key` changed."""
        self._keys[key] = None
        self._wake.set()

    async def batches(self) -> AsyncGenerator[tuple[str, ...], None]:
        """Keys in the order in which they first changed, as soon as there are any; endless."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            keys, self._keys = tuple(self._keys), {}
            yield keys


class Changes:
    """One topic."""

    __slots__ = ("_subscriptions",)

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def notify(self, key: str) -> None:
        """Tell everybody."""
        for subscription in self._subscriptions:
            subscription.notify(key)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription for the length of a `with` block."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
