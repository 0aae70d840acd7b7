"""The writer when a commit, a function or the writer itself goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from arbora.errors import StorageFailed
from arbora_hub.store.connection import SqliteConnection
from arbora_hub.store.port import WriteTx
from arbora_hub.store.schema import prepare
from arbora_hub.store.writer import GroupWriter


class Unreliable(SqliteConnection):
    """A connection whose commits can be made to fail, and that counts them."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine, pragmas=("synchronous=FULL",), begin="BEGIN IMMEDIATE")
        self.commits = 0
        self.trouble: Exception | None = None

    async def commit(self) -> None:
        if self.trouble is not None:
            raise self.trouble
        await super().commit()
        self.commits += 1


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[Unreliable]:
    prepare(tmp_path / "hub.db")
    engine = create_async_engine(
        sa.URL.create("sqlite+aiosqlite", database=str(tmp_path / "hub.db")), poolclass=sa.NullPool
    )
    connection = Unreliable(engine)
    yield connection
    await connection.close()
    await engine.dispose()


@pytest.fixture
async def writer(connection: Unreliable) -> AsyncIterator[GroupWriter]:
    writer = GroupWriter(connection, deadline=0.2)
    async with asyncio.TaskGroup() as group:
        group.create_task(writer.run())
        yield writer
        writer.close()


def put(key: str) -> Callable[[WriteTx], Awaitable[str]]:
    async def write(tx: WriteTx) -> str:
        await tx.settings.put(key, b"x")
        return key

    return write


async def stored(writer: GroupWriter, *keys: str) -> list[str]:
    async def look(tx: WriteTx) -> list[str]:
        return [key for key in keys if await tx.settings.get(key) is not None]

    return await writer.write(look)


async def test_writes_that_wait_share_commits(writer: GroupWriter, connection: Unreliable) -> None:
    answers = await asyncio.gather(*(writer.write(put(f"k{number}")) for number in range(200)))
    assert answers == [f"k{number}" for number in range(200)]
    assert connection.commits <= 8


@pytest.mark.parametrize("writes", [1, 10])
@pytest.mark.parametrize("trouble", [StorageFailed("disk full", hint="Free space."), RuntimeError("unheard of")])
async def test_if_the_commit_fails_nothing_of_the_group_is_kept_and_the_next_goes_on(
    writer: GroupWriter, connection: Unreliable, trouble: Exception, writes: int
) -> None:
    keys = [f"k{number}" for number in range(writes)]
    connection.trouble = trouble
    answers = await asyncio.gather(*(writer.write(put(key)) for key in keys), return_exceptions=True)
    assert all(isinstance(answer, StorageFailed) and answer.retryable for answer in answers)
    assert len({id(answer) for answer in answers}) == writes
    assert all(isinstance(answer, BaseException) and answer.__cause__ is not None for answer in answers)
    connection.trouble = None
    assert await stored(writer, *keys) == []
    assert await writer.write(put("after")) == "after"
    assert await stored(writer, "after") == ["after"]


async def test_a_function_that_waits_for_something_else_does_not_hold_up_the_store(writer: GroupWriter) -> None:
    async def stuck(tx: WriteTx) -> None:
        await tx.settings.put("stuck", b"x")
        await asyncio.Event().wait()

    with pytest.raises(StorageFailed, match="too long"):
        await writer.write(stuck)
    assert await writer.write(put("after")) == "after"
    assert await stored(writer, "stuck", "after") == ["after"]


async def test_a_function_that_cancels_itself_is_undone(writer: GroupWriter) -> None:
    async def giving_up(tx: WriteTx) -> None:
        await tx.settings.put("k", b"x")
        raise asyncio.CancelledError

    async def write() -> None:
        await writer.write(giving_up)

    task = asyncio.create_task(write())
    others = asyncio.gather(*(writer.write(put(f"o{number}")) for number in range(3)))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await others == ["o0", "o1", "o2"]
    assert await stored(writer, "k") == []


async def test_a_function_can_not_hide_that_the_store_failed(writer: GroupWriter, connection: Unreliable) -> None:
    async def hiding(tx: WriteTx) -> str:
        await tx.settings.put("k", b"x")
        try:
            await tx.settings.put("large", b"x" * 1_000_000)
        except StorageFailed:
            with pytest.raises(StorageFailed):
                await tx.settings.put("k2", b"x")
        return "all is well"

    await writer.write(put("before"))
    await _limit_pages(connection, 60)
    answers = await asyncio.gather(writer.write(put("o")), writer.write(hiding), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StorageFailed, StorageFailed]
    await _limit_pages(connection, 1_000_000)
    assert await stored(writer, "before", "o", "k", "k2", "large") == ["before"]


async def test_if_the_writer_is_cancelled_nobody_waits_forever(connection: Unreliable) -> None:
    writer = GroupWriter(connection)
    begun = asyncio.Event()

    async def endless(tx: WriteTx) -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(writer.run())
    first = asyncio.ensure_future(writer.write(endless))
    await begun.wait()
    second = asyncio.ensure_future(writer.write(put("k")))
    await asyncio.sleep(0)
    running.cancel()
    answers = await asyncio.gather(running, first, second, return_exceptions=True)
    assert [type(answer) for answer in answers] == [asyncio.CancelledError] * 3
    with pytest.raises(StorageFailed, match="closed"):
        await writer.write(put("late"))


async def _limit_pages(connection: Unreliable, pages: int) -> None:
    await connection.begin()
    await connection.statements().first(sa.text(f"PRAGMA max_page_count={pages}"))
    await connection.rollback()
