"""A store that runs out of space says so, keeps nothing by halves, and goes on when there is space again."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from arbora.errors import StorageFailed
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import ReadTx, Store, WriteTx

BLOCK = b"x" * 20_000


@asynccontextmanager
async def opened(path: Path, max_bytes: int | None = None) -> AsyncIterator[Store]:
    store = await open_store(path, max_bytes=max_bytes)
    try:
        yield store
    finally:
        await store.close()


async def put_pair(store: Store, number: int) -> None:
    async def write(tx: WriteTx) -> None:
        await tx.settings.put(f"a{number}", BLOCK)
        await tx.settings.put(f"b{number}", BLOCK)

    await store.write(write)


async def fill(store: Store) -> int:
    """Write pairs, four at a time, until the store is full; how many pairs were tried."""
    for number in range(0, 4000, 4):
        answers = await asyncio.gather(
            *(put_pair(store, number + each) for each in range(4)), return_exceptions=True
        )
        failures = [answer for answer in answers if answer is not None]
        if failures:
            for failure in failures:
                assert isinstance(failure, StorageFailed)
                assert failure.retryable
                assert "full" in str(failure)
                assert "space" in failure.hint
            return number + 4
    raise AssertionError("the store never ran out of space")


async def pairs(store: Store, tried: int) -> list[int]:
    """The pairs that are there; a half one fails the test."""

    async def read(tx: ReadTx) -> list[int]:
        found = []
        for number in range(tried):
            halves = await tx.settings.get(f"a{number}"), await tx.settings.get(f"b{number}")
            assert halves in ((None, None), (BLOCK, BLOCK))
            if halves[0] is not None:
                found.append(number)
        return found

    return await store.read(read)


async def test_a_store_at_its_limit_goes_on_once_something_is_removed(tmp_path: Path) -> None:
    async with opened(tmp_path / "hub.db", max_bytes=1_000_000) as store:
        tried = await fill(store)
        kept = await pairs(store, tried)
        assert kept == list(range(tried - 4))

        async def remove(tx: WriteTx) -> None:
            for number in kept[:3]:
                await tx.settings.delete(f"a{number}")
                await tx.settings.delete(f"b{number}")

        await store.write(remove)
        await put_pair(store, tried)
        assert await pairs(store, tried + 1) == [*kept[3:], tried]
    assert (tmp_path / "hub.db").stat().st_size <= 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system can't be mounted here; it takes root and CAP_SYS_ADMIN")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True, timeout=10)


async def test_a_store_on_a_full_disk_goes_on_when_there_is_space_again(small_disk: Path) -> None:
    path = small_disk / "hub.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 600_000)
    async with opened(path) as store:
        tried = await fill(store)
        kept = await pairs(store, tried)
        assert kept == list(range(tried - 4))

        ballast.unlink()
        await put_pair(store, tried)
        assert await pairs(store, tried + 1) == [*kept, tried]

    async with opened(path) as again:
        assert await pairs(again, tried + 1) == [*kept, tried]


async def test_a_store_can_not_be_made_on_a_full_disk(small_disk: Path) -> None:
    free = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(b"\0" * (free.f_bavail * free.f_frsize - 8192))
    with pytest.raises(StorageFailed) as caught:
        await open_store(small_disk / "hub.db")
    assert caught.value.hint
    (small_disk / "ballast").unlink()
    await (await open_store(small_disk / "hub.db")).close()
