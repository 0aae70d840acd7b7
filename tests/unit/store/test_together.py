"""Rows of many callers written as one: what each caller is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

import pytest

from arbora.errors import ArboraError, Conflict, StorageFailed
from arbora_hub.store.port import Store, WriteTx
from arbora_hub.store.together import LIMIT, Together

T = TypeVar("T")


class Shelf:
    """A store that keeps rows in memory, one transaction at a time, each when it is let go on."""

    def __init__(self) -> None:
        self.transactions: list[tuple[str, ...]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.broken = False

    async def write(self, fn: Callable[[WriteTx], Awaitable[T]]) -> T:
        await self.go.wait()
        if self.broken:
            raise StorageFailed("the disk is full")
        rows: list[str] = []
        result = await fn(cast(WriteTx, rows))
        self.transactions.append(tuple(rows))
        return result

    def together(self) -> Together[str]:
        async def put(tx: WriteTx, rows: Sequence[str]) -> None:
            if "unique" in rows:
                raise Conflict("unique is there already")
            if "bug" in rows:
                raise ZeroDivisionError
            cast(Any, tx).extend(rows)

        return Together(cast(Store, self), put)


async def results(*puts: Awaitable[None]) -> list[BaseException | None]:
    return await asyncio.gather(*puts, return_exceptions=True)


async def test_rows_that_come_at_the_same_moment_are_one_transaction() -> None:
    shelf = Shelf()
    together = shelf.together()
    assert await results(*(together.put(str(number)) for number in range(10))) == [None] * 10
    assert shelf.transactions == [tuple(map(str, range(10)))]


async def test_rows_gather_until_the_store_is_ready_and_later_ones_are_the_next() -> None:
    shelf = Shelf()
    together = shelf.together()
    shelf.go.clear()
    first = asyncio.gather(together.put("a"), together.put("b"))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(together.put("c"))
    await asyncio.sleep(0)
    shelf.go.set()
    await asyncio.gather(first, second)
    await together.put("d")
    assert shelf.transactions == [("a", "b", "c"), ("d",)]


async def test_a_batch_has_a_limit() -> None:
    shelf = Shelf()
    together = shelf.together()
    await results(*(together.put(str(number)) for number in range(LIMIT + 1)))
    assert sorted(map(len, shelf.transactions)) == [1, LIMIT]


async def test_a_row_that_contradicts_the_store_fails_alone() -> None:
    shelf = Shelf()
    together = shelf.together()
    answers = await results(together.put("a"), together.put("unique"), together.put("b"))
    assert [type(each) for each in answers] == [type(None), Conflict, type(None)]
    assert shelf.transactions == [("a",), ("b",)]


async def test_a_store_that_fails_fails_for_all_and_each_gets_an_error_of_its_own() -> None:
    shelf = Shelf()
    shelf.broken = True
    together = shelf.together()
    first, second = await results(together.put("a"), together.put("b"))
    assert isinstance(first, StorageFailed) and isinstance(second, StorageFailed)
    assert first is not second
    shelf.broken = False
    await together.put("c")
    assert shelf.transactions == [("c",)]


async def test_a_bug_reaches_whoever_called() -> None:
    with pytest.raises(ZeroDivisionError):
        await Shelf().together().put("bug")


async def test_what_a_cancelled_caller_wanted_is_written_all_the_same() -> None:
    shelf = Shelf()
    together = shelf.together()
    shelf.go.clear()
    caller = asyncio.ensure_future(together.put("a"))
    other = asyncio.ensure_future(together.put("b"))
    await asyncio.sleep(0)
    caller.cancel()
    shelf.go.set()
    await other
    assert caller.cancelled()
    assert shelf.transactions == [("a", "b")]


async def test_an_error_keeps_what_it_said() -> None:
    shelf = Shelf()
    together = shelf.together()
    with pytest.raises(ArboraError, match="unique is there already"):
        await together.put("unique")
