"""A change goes on when the client that asked for it has gone."""

from __future__ import annotations

import asyncio

import pytest

from arbora.errors import Conflict
from arbora_hub.unbroken import unbroken


class Change:
    """Begins, waits to be let on, ends or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.done = False
        self._failure = failure

    async def run(self) -> str:
        self.begun.set()
        await self.go_on.wait()
        self.done = True
        if self._failure is not None:
            raise self._failure
        return "done"


async def given_up(change: Change) -> asyncio.Task[str]:
    """A caller that is cancelled in the middle of the change."""
    caller = asyncio.create_task(unbroken(change.run()))
    await change.begun.wait()
    caller.cancel()
    await asyncio.sleep(0)
    return caller


async def test_what_a_change_gives_or_raises_is_its_callers() -> None:
    good, bad = Change(), Change(Conflict("there is one already"))
    good.go_on.set()
    bad.go_on.set()
    assert await unbroken(good.run()) == "done"
    with pytest.raises(Conflict, match="there is one already"):
        await unbroken(bad.run())


@pytest.mark.parametrize("failure", [None, Conflict("there is one already"), ValueError("a bug")])
async def test_a_cancelled_caller_ends_only_after_its_change(failure: Exception | None) -> None:
    change = Change(failure)
    caller = await given_up(change)
    assert not caller.done()
    change.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert change.done
