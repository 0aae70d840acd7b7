"""Turns: one change at a time for each name."""

from __future__ import annotations

import asyncio

import pytest

from arbora_hub.workloads.turns import Turns


async def test_changes_of_one_name_never_overlap_and_keep_their_order() -> None:
    turns, told = Turns(), list[str]()

    async def change(number: int) -> None:
        async with turns.of("a"):
            told.append(f"{number} begins")
            await asyncio.sleep(0)
            told.append(f"{number} ends")

    await asyncio.gather(*map(change, range(3)))
    assert told == [f"{number} {what}" for number in range(3) for what in ("begins", "ends")]


async def test_changes_of_different_names_go_on_side_by_side() -> None:
    turns, both = Turns(), asyncio.Barrier(2)

    async def change(name: str) -> None:
        async with turns.of(name):
            await both.wait()

    await asyncio.gather(change("a"), change("b"))


async def test_a_failed_or_cancelled_change_gives_the_turn_on() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="no"):
        async with turns.of("a"):
            waiting = asyncio.create_task(_take(turns, "a"))
            await asyncio.sleep(0)
            waiting.cancel()
            raise ValueError("no")
    await asyncio.gather(waiting, return_exceptions=True)
    await asyncio.wait_for(_take(turns, "a"), 1.0)


async def test_nothing_is_kept_of_names_that_are_not_in_use() -> None:
    turns = Turns()
    async with turns.of("a"):
        assert len(turns) == 1
    assert len(turns) == 0


async def _take(turns: Turns, name: str) -> None:
    async with turns.of(name):
        pass
