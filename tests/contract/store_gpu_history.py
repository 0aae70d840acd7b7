"""What every store does with minutes of members' GPUs; part of `StoreContract`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arbora.errors import Conflict
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import ChildRow, GpuHistoryRow
from tests.contract.store_home import Home

A, B = ChildRow("a", "agent"), ChildRow("b", "agent")


def minute(number: int, child: str = "a", data: bytes = b"\x00\xff") -> GpuHistoryRow:
    return GpuHistoryRow(child, number, data)


async def add(store: Store, *rows: GpuHistoryRow) -> None:
    """The children, and these minutes of theirs."""

    async def write(tx: WriteTx) -> None:
        for child in (A, B):
            await tx.children.put(child)
        await tx.gpu_history.add_many(rows)

    await store.write(write)


async def kept(store: Store, child: str = "a", since: int = 0) -> tuple[GpuHistoryRow, ...]:
    async def read(tx: ReadTx) -> tuple[GpuHistoryRow, ...]:
        return await tx.gpu_history.list(child, since)

    return await store.read(read)


class GpuHistoryContract:
    """Minutes of members' GPUs."""

    async def test_minutes_come_back_as_they_were_added_oldest_first(self, store: Store) -> None:
        rows = [minute(3, data=b""), minute(1, data=bytes(range(256)) * 40), minute(2**40), minute(2)]
        await add(store, *rows)
        assert await kept(store) == (rows[1], rows[3], rows[0], rows[2])

    async def test_a_range_begins_with_the_minute_that_is_named(self, store: Store) -> None:
        await add(store, *(minute(number) for number in range(10)))
        assert [row.minute for row in await kept(store, since=7)] == [7, 8, 9]
        assert await kept(store, since=10) == ()

    async def test_a_child_has_its_own_minutes_only(self, store: Store) -> None:
        await add(store, minute(1), minute(1, "b", b"other"), minute(2, "b", b"more"))
        assert await kept(store) == (minute(1),)
        assert await kept(store, "b") == (minute(1, "b", b"other"), minute(2, "b", b"more"))
        assert await kept(store, "nobody") == ()

    async def test_a_minute_that_is_there_is_left_as_it_is(self, store: Store) -> None:
        await add(store, minute(1, data=b"first"))
        await add(store, minute(1, data=b"second"), minute(2, data=b"new"))
        assert await kept(store) == (minute(1, data=b"first"), minute(2, data=b"new"))

    async def test_no_minutes_can_be_added(self, store: Store) -> None:
        await add(store)
        assert await kept(store) == ()

    async def test_minutes_of_a_child_that_is_not_there_are_refused_and_none_is_kept(self, store: Store) -> None:
        await add(store)
        with pytest.raises(Conflict):
            await add(store, minute(1), minute(1, "nobody"))
        assert await kept(store) == ()

    async def test_trimming_removes_what_is_older_of_all_children(self, store: Store) -> None:
        await add(store, *(minute(number, child) for number in range(5) for child in ("a", "b")))

        async def trim(tx: WriteTx) -> list[int]:
            return [await tx.gpu_history.trim(before) for before in (0, 3, 3)]

        assert await store.write(trim) == [0, 6, 0]
        for child in ("a", "b"):
            assert [row.minute for row in await kept(store, child)] == [3, 4]

    async def test_an_evicted_child_keeps_its_minutes_until_they_are_old(self, store: Store) -> None:
        await add(store, minute(1), minute(2))

        async def write(tx: WriteTx) -> None:
            await tx.children.put(replace(A, state="evicted"))
            await tx.gpu_history.trim(2)

        await store.write(write)
        assert await kept(store) == (minute(2),)

    async def test_a_deleted_child_takes_its_minutes_along(self, store: Store) -> None:
        await add(store, minute(1), minute(1, "b"))
        assert await store.write(lambda tx: tx.children.delete("a"))
        assert await kept(store) == ()
        assert await kept(store, "b") == (minute(1, "b"),)

    async def test_minutes_are_there_after_opening_again(self, home: Home) -> None:
        store = await home.open()
        await add(store, minute(1))
        await store.close()
        again = await home.open()
        assert await kept(again) == (minute(1),)
        await again.close()
