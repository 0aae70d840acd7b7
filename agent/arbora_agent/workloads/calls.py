"""How a workload's requests go out: a few at a time, each with a deadline. For `reconciler.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from arbora_agent.cluster.port import ClusterUnavailable

PARALLEL = 4
"""Requests of one workload at the same time."""
DEADLINE = 30.0
"""Seconds that one request may take in all."""

Answer = TypeVar("Answer")
Thing = TypeVar("Thing")


async def act_on_each(
    things: Sequence[Thing], act: Callable[[Thing], Awaitable[None]], still_wanted: Callable[[], bool]
) -> None:
    """Act on all things, `PARALLEL` at a time, and stop between two of them once they are no longer wanted.

    If one is unreachable, the others under way are not cancelled, because their outcome would be unknown; after
    `PARALLEL` such failures nothing further is begun. Raises the first ClusterUnavailable at the end.
    """
    unreachable: list[ClusterUnavailable] = []
    ahead = iter(things)

    async def one_after_the_other() -> None:
        for thing in ahead:
            if len(unreachable) >= PARALLEL or not still_wanted():
                return
            try:
                await act(thing)
            except ClusterUnavailable as error:
                unreachable.append(error)

    if len(things) == 1:
        await one_after_the_other()  # the usual case, without the price of tasks
    else:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(PARALLEL, len(things))):
                group.create_task(one_after_the_other())
    if unreachable:
        raise unreachable[0]


async def within_deadline(call: Awaitable[Answer]) -> Answer:
    """The answer. Raises ClusterUnavailable after `DEADLINE`; adapters have shorter deadlines of their own."""
    try:
        async with asyncio.timeout(DEADLINE):
            return await call
    except TimeoutError as error:
        raise ClusterUnavailable(f"no answer within {DEADLINE:.0f} s") from error
