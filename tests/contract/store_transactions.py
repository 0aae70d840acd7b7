"""What every store promises of writes and reads; part of `StoreContract`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from arbora.errors import Conflict, StorageFailed
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import AccessRow, AssignmentRow
from tests.contract.store_home import Home, put_setting, setting


class TransactionContract:
    """Transactions, cancellation, opening and closing."""

    async def test_a_read_holds_every_write_that_was_answered(self, store: Store) -> None:
        for number in range(20):
            await put_setting(store, "k", b"%d" % number)
            assert await setting(store, "k") == b"%d" % number

    async def test_what_is_written_is_there_after_opening_again(self, home: Home) -> None:
        store = await home.open()
        await put_setting(store, "k", b"kept")
        await store.close()
        again = await home.open()
        assert await setting(again, "k") == b"kept"
        await again.close()

    async def test_a_function_that_raises_leaves_nothing_behind(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.settings.put("k", b"lost")
            raise Conflict("no")

        with pytest.raises(Conflict, match="no"):
            await store.write(write)
        assert await setting(store, "k") is None

    async def test_one_bad_function_in_a_group_undoes_only_itself(self, store: Store) -> None:
        async def write(tx: WriteTx, number: int) -> int:
            await tx.settings.put(f"k{number}", b"x")
            if number % 7 == 3:
                raise KeyError(number)
            if number % 7 == 5:
                await tx.assignments.put(AssignmentRow("no such", "no one", 1))
            return number

        answers = await asyncio.gather(
            *(store.write(partial(write, number=number)) for number in range(50)),
            return_exceptions=True,
        )
        for number, answer in enumerate(answers):
            expected = {3: KeyError, 5: Conflict}.get(number % 7, int)
            assert isinstance(answer, expected), number
            assert (await setting(store, f"k{number}") is not None) == (expected is int), number

    async def test_writes_take_effect_one_after_the_other(self, store: Store) -> None:
        async def write(tx: WriteTx) -> int:
            before = int(await tx.settings.get("count") or b"0")
            await tx.settings.put("count", b"%d" % (before + 1))
            return before

        answers = await asyncio.gather(*(store.write(write) for _ in range(300)))
        assert sorted(answers) == list(range(300))
        assert await setting(store, "count") == b"300"

    async def test_a_read_sees_one_moment_while_others_write(self, store: Store) -> None:
        await put_setting(store, "k", b"old")
        halfway, written = asyncio.Event(), asyncio.Event()

        async def read(tx: ReadTx) -> tuple[bytes | None, bytes | None]:
            first = await tx.settings.get("k")
            halfway.set()
            await written.wait()
            return first, await tx.settings.get("k")

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(store.read(read))
            await halfway.wait()
            await put_setting(store, "k", b"new")
            written.set()
        assert reading.result() == (b"old", b"old")
        assert await setting(store, "k") == b"new"

    async def test_more_reads_than_connections_all_get_an_answer(self, store: Store) -> None:
        await put_setting(store, "k", b"x")
        assert await asyncio.gather(*(setting(store, "k") for _ in range(50))) == [b"x"] * 50

    async def test_a_read_can_not_write(self, store: Store) -> None:
        async def read(tx: ReadTx) -> None:
            await tx.settings.put("k", b"x")  # type: ignore[attr-defined]

        with pytest.raises(StorageFailed):
            await store.read(read)
        assert await setting(store, "k") is None

    async def test_a_transaction_can_not_be_used_after_its_function(self, store: Store) -> None:
        async def keep(tx: WriteTx) -> WriteTx:
            return tx

        async def keep_read(tx: ReadTx) -> ReadTx:
            return tx

        for tx in (await store.write(keep), await store.read(keep_read)):
            with pytest.raises(Conflict, match="over"):
                await tx.settings.get("k")

    async def test_a_cancelled_write_takes_effect_as_a_whole_or_not_at_all(self, store: Store) -> None:
        async def write(tx: WriteTx, number: int) -> None:
            await tx.settings.put(f"a{number}", b"x")
            await tx.settings.put(f"b{number}", b"x")

        tasks = [asyncio.create_task(store.write(partial(write, number=number))) for number in range(40)]
        for number, task in enumerate(tasks):
            if number % 2:
                task.cancel()
                await asyncio.sleep(0)
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(answers):
            a, b = await setting(store, f"a{number}"), await setting(store, f"b{number}")
            assert a == b, number
            if answer is None:
                assert a == b"x", number

    async def test_a_write_that_is_cancelled_while_it_runs_does_not_disturb_the_others(
        self, store: Store
    ) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow(tx: WriteTx) -> None:
            begun.set()
            await go_on.wait()
            await tx.settings.put("slow", b"x")

        cancelled = asyncio.create_task(store.write(slow))
        await begun.wait()
        others = [asyncio.create_task(put_setting(store, f"k{number}")) for number in range(5)]
        cancelled.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await asyncio.gather(*others)
        assert [await setting(store, f"k{number}") for number in range(5)] == [b"x"] * 5

    async def test_a_cancelled_read_does_not_disturb_the_others(self, store: Store) -> None:
        await put_setting(store, "k", b"x")
        for _ in range(20):
            reading = asyncio.create_task(setting(store, "k"))
            for _ in range(3):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        assert await asyncio.gather(*(setting(store, "k") for _ in range(10))) == [b"x"] * 10

    async def test_closing_finishes_the_writes_that_wait_and_refuses_new_ones(self, home: Home) -> None:
        store = await home.open()
        waiting = [asyncio.create_task(put_setting(store, f"k{number}")) for number in range(100)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*waiting)
        with pytest.raises(StorageFailed, match="closed"):
            await put_setting(store, "late")
        with pytest.raises(StorageFailed, match="closed"):
            await setting(store, "k0")
        await store.close()
        again = await home.open()
        assert [await setting(again, f"k{number}") for number in range(100)] == [b"x"] * 100
        await again.close()

    async def test_errors_do_not_tell_what_was_to_be_stored(self, store: Store) -> None:
        access = AccessRow("ada", "a1", "hash", 3, 1.0, None)

        async def write(tx: WriteTx) -> None:
            await tx.access.put(replace(access, secret_hash="top-secret"))
            await tx.access.put(replace(access, name="eve", secret_hash="top-secret"))

        with pytest.raises(Conflict) as caught:
            await store.write(write)
        error: BaseException | None = caught.value
        while error is not None:
            assert "top-secret" not in f"{error!s}{error!r}"
            error = error.__cause__
