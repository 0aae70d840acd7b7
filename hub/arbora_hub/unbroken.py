"""Changes that run to their end although the client that asked for them has gone.

grpc cancels a handler when its client hangs up or has waited long enough. A change is first stored and then
taken over in memory and told to members; cancelled in between, the hub would not know what it has stored until
its next start. So handlers that change something await it through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from arbora.errors import ArboraError

log = structlog.get_logger(__name__)

T = TypeVar("T")


async def unbroken(change: Awaitable[T]) -> T:
    """Await `change`, which is not cancelled with its caller: a cancellation goes on once it has ended."""
    task = asyncio.ensure_future(change)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await _ended(task)
        raise


async def _ended(task: asyncio.Future[T]) -> None:
    """Wait for the end, which nobody waits for any more; a failure goes to the log."""
    await asyncio.wait([task])
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, ArboraError):
        log.info("a change failed after its client had gone", error=str(error))
    elif error is not None:
        log.error("unhandled after the client had gone", exc_info=error)
