"""Joins two sides until both ways have ended.

one --read--> write--> other      each way ends for itself (half-close)
one <--write <--read-- other      an error, or five minutes without a byte, ends both
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from arbora.errors import DeadlineExceeded
from arbora.tunnel.ends import TunnelEnd

IDLE_SECONDS = 300.0
"""Without a byte either way. HTTP/2 clients of Kubernetes ping every 30 s, streams of exec more often."""


@dataclass(slots=True)
class Passed:
    """What went through."""

    forth: int = 0
    """Bytes from the first side to the second; so for the next, backwards."""
    back: int = 0
    moved_at: float = 0.0
    """Loop time of the last byte."""


async def splice(one: TunnelEnd, other: TunnelEnd, passed: Passed, idle_seconds: float = IDLE_SECONDS) -> None:
    """Pass bytes until both ways have ended. passed: is kept current.

    Raises Unavailable if a side is gone, DeadlineExceeded after idling; both sides are given up then, as they are
    when this is cancelled.
    """
    loop = asyncio.get_running_loop()
    passed.moved_at = loop.time()

    async def forth() -> None:
        while data := await one.read():
            passed.forth += len(data)
            passed.moved_at = loop.time()
            await other.write(data)
        await other.end()

    async def back() -> None:
        while data := await other.read():
            passed.back += len(data)
            passed.moved_at = loop.time()
            await one.write(data)
        await one.end()

    ways = [asyncio.create_task(forth(), name="tunnel-forth"), asyncio.create_task(back(), name="tunnel-back")]
    waiting = set(ways)
    try:
        while waiting:
            patience = passed.moved_at + idle_seconds - loop.time()
            if patience <= 0:
                raise DeadlineExceeded(f"the tunnel was idle for {idle_seconds:g} s")
            done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
    except BaseException:
        one.abort()
        other.abort()
        raise
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
