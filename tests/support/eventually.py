"""The one way in which tests wait for something that another task, thread or process does."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE = 0.01


async def eventually(
    condition: Callable[[], T | Awaitable[T]], what: str = "the condition", seconds: float = 10.0
) -> T:
    """Return the condition's value as soon as it is true. Fails with `what` and the last value otherwise."""
    last: T | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                value = condition()
                last = await value if inspect.isawaitable(value) else value
                if last:
                    return last
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {seconds:g} s; last seen {last!r}") from None
