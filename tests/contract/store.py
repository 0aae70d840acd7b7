"""What every adapter of the port `Store` does, as tests over a `Home`.

For: the adapters' own test modules. Each of them derives a class from `StoreContract` and gives a fixture
`home`: a place where a store can be opened, closed and opened again. The tests never look at how an adapter
works.

    class TestSqliteStore(StoreContract):
        @pytest.fixture
        def home(self, tmp_path: Path) -> Home: ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Protocol, TypeVar

import pytest

from arbora.errors import Conflict, InvalidInput, NotFound, StorageFailed
from arbora_hub.store.port import AUDIT_FLOOR, Children, ReadTx, Store, WriteTx
from arbora_hub.store.rows import (
    AccessRow,
    AssignmentRow,
    AuditRow,
    AuthorityRow,
    ChildRow,
    EventRow,
    JoinTokenRow,
    WorkloadRow,
)

T = TypeVar("T")

CHILD = ChildRow(
    name="edge-7",
    kind="agent",
    cluster_uid="6f1c",
    labels={"region": "eu", "größe": "5"},
    taints=(("gpu", "only", "NoSchedule"), ("gpu", "", "NoExecute")),
    cordoned=True,
    serial_current="0a",
    serial_new="0b",
    cert_not_after=1_800_000_000.123456,
    session_epoch=3,
    last_status=b"\x00\xff",
    last_seen=12.5,
    created=10.25,
    version="1.2.3",
)
TOKEN = JoinTokenRow("t1", "hash", "edge-7", "agent", {"a": "b"}, 100.5, 1, {"key": "edge-7"}, 1.5)
ACCESS = AccessRow("ada", "a1", "hash", 3, 1.0, None)
WORKLOAD = WorkloadRow("u1", "train", {"team": "x"}, 1, b"\x01", b"\x02" * 10, 5.0)
AUTHORITY = AuthorityRow("0f", "active", b"cert", b"key", 1.0, 0.0, 9.0)


class Home(Protocol):
    """Where one store's data lives."""

    async def open(self) -> Store:
        """A store over what is there. The test closes it."""


def event(number: int, subject: str = "member/a") -> EventRow:
    return EventRow(f"{number:014x}-0000", number / 1e6, 1, "MemberJoined", subject, f"number {number}")


def entry(number: int, subject: str = "member/a") -> AuditRow:
    return AuditRow(
        f"{number:014x}-0000", number / 1e6, "access/ada", "LabelMember", subject, "OK", "ipv4:127.0.0.1:9", ""
    )


async def put_setting(store: Store, key: str, value: bytes = b"x") -> None:
    async def write(tx: WriteTx) -> None:
        await tx.settings.put(key, value)

    await store.write(write)


async def setting(store: Store, key: str) -> bytes | None:
    async def read(tx: ReadTx) -> bytes | None:
        return await tx.settings.get(key)

    return await store.read(read)


class StoreContract:
    """The contract."""

    @pytest.fixture
    async def store(self, home: Home) -> AsyncIterator[Store]:
        store = await home.open()
        yield store
        await store.close()

    # children

    async def test_a_child_comes_back_as_it_was_put(self, store: Store) -> None:
        async def write(tx: WriteTx) -> ChildRow | None:
            await tx.children.put(CHILD)
            return await tx.children.get("edge-7")

        assert await store.write(write) == CHILD

        async def read(tx: ReadTx) -> tuple[ChildRow | None, ChildRow | None]:
            return await tx.children.get("edge-7"), await tx.children.get("edge")

        assert await store.read(read) == (CHILD, None)

    async def test_putting_a_child_again_replaces_all_of_it(self, store: Store) -> None:
        changed = ChildRow("edge-7", "hub", state="evicted")

        async def write(tx: WriteTx) -> tuple[ChildRow, ...]:
            await tx.children.put(CHILD)
            await tx.children.put(changed)
            return await tx.children.list()

        assert await store.write(write) == (changed,)

    async def test_children_are_listed_by_name_in_the_order_of_bytes(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[str]:
            for name in ("b", "a-b", "a", "B", "a0"):
                await tx.children.put(ChildRow(name, "agent"))
            return [row.name for row in await tx.children.list()]

        assert await store.write(write) == ["B", "a", "a-b", "a0", "b"]

    async def test_only_an_active_child_is_found_by_its_cluster(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[ChildRow | None]:
            await tx.children.put(replace(CHILD, name="a-old", state="evicted"))
            await tx.children.put(CHILD)
            await tx.children.put(ChildRow("bare", "hub"))
            return [await tx.children.by_cluster(uid) for uid in ("6f1c", "other", "")]

        assert await store.write(write) == [CHILD, None, None]

    async def test_epochs_only_rise(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[int]:
            await tx.children.put(CHILD)
            return [await tx.children.bump_epoch("edge-7") for _ in range(3)]

        assert await store.write(write) == [4, 5, 6]

    async def test_setting_serials_changes_nothing_else(self, store: Store) -> None:
        async def write(tx: WriteTx) -> ChildRow | None:
            await tx.children.put(CHILD)
            await tx.children.set_serials("edge-7", "0b", "", 7.0)
            return await tx.children.get("edge-7")

        assert await store.write(write) == replace(CHILD, serial_current="0b", serial_new="", cert_not_after=7.0)

    async def test_what_children_last_reported_is_saved_for_those_that_are_there(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[ChildRow, ...]:
            await tx.children.put(CHILD)
            await tx.children.put(ChildRow("b", "agent"))
            await tx.children.put(ChildRow("c", "agent"))
            await tx.children.save_last({}, 98.0)
            await tx.children.save_last({"edge-7": b"new", "gone": b"?", "b": b""}, 99.0)
            return await tx.children.list()

        assert await store.write(write) == (
            ChildRow("b", "agent", last_seen=99.0),
            ChildRow("c", "agent"),
            replace(CHILD, last_status=b"new", last_seen=99.0),
        )

    @pytest.mark.parametrize(
        "change", [lambda c: c.bump_epoch("nobody"), lambda c: c.set_serials("nobody", "1", "", 1.0)]
    )
    async def test_a_child_that_is_not_there_can_not_be_changed(
        self, store: Store, change: Callable[[Children], Awaitable[object]]
    ) -> None:
        async def write(tx: WriteTx) -> None:
            await change(tx.children)

        with pytest.raises(NotFound, match="nobody"):
            await store.write(write)

    async def test_a_deleted_child_takes_its_assignments_along(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[bool, bool, int]:
            await tx.children.put(CHILD)
            await tx.workloads.put(WORKLOAD)
            await tx.assignments.put(AssignmentRow("u1", "edge-7", 1))
            gone = await tx.children.delete("edge-7")
            return gone, await tx.children.delete("edge-7"), len(await tx.assignments.list())

        assert await store.write(write) == (True, False, 0)

    # join tokens, access

    async def test_join_tokens_are_put_listed_by_expiry_and_deleted(self, store: Store) -> None:
        used = replace(TOKEN, uses_left=0, bound={"key": "edge-7", "other": "b"})

        async def write(tx: WriteTx) -> list[object]:
            await tx.join_tokens.put(TOKEN)
            await tx.join_tokens.put(used)
            await tx.join_tokens.put(replace(TOKEN, id="t0", expires=200.0))
            listed = [row.id for row in await tx.join_tokens.list()]
            removed = await tx.join_tokens.delete_expired(100.5), await tx.join_tokens.delete_expired(101.0)
            ends = await tx.join_tokens.delete("t0"), await tx.join_tokens.delete("t0")
            return [listed, removed, ends, await tx.join_tokens.list()]

        assert await store.write(write) == [["t1", "t0"], (0, 1), (True, False), ()]

    async def test_a_join_token_comes_back_as_it_was_put(self, store: Store) -> None:
        async def write(tx: WriteTx) -> JoinTokenRow | None:
            await tx.join_tokens.put(TOKEN)
            return await tx.join_tokens.get("t1")

        assert await store.write(write) == TOKEN

    async def test_an_access_is_found_by_name_and_by_id(self, store: Store) -> None:
        brief = AccessRow("bob", "b1", "hash", 1, 1.0, 2.0)

        async def write(tx: WriteTx) -> list[object]:
            await tx.access.put(brief)
            await tx.access.put(ACCESS)
            found = [await tx.access.get("ada"), await tx.access.by_id("b1"), await tx.access.by_id("ada")]
            return [found, await tx.access.list(), await tx.access.delete("ada"), await tx.access.delete("ada")]

        assert await store.write(write) == [[ACCESS, brief, None], (ACCESS, brief), True, False]

    async def test_two_accesses_can_not_have_one_id(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.access.put(ACCESS)
            await tx.access.put(replace(ACCESS, name="eve"))

        with pytest.raises(Conflict):
            await store.write(write)

    # workloads, assignments

    async def test_a_workload_is_found_by_uid_and_by_name(self, store: Store) -> None:
        changed = replace(WORKLOAD, generation=2, deleting=True)

        async def write(tx: WriteTx) -> list[object]:
            await tx.workloads.put(WORKLOAD)
            await tx.workloads.put(changed)
            await tx.workloads.put(replace(WORKLOAD, uid="u0", name="zoo"))
            found = [
                await tx.workloads.get("u1"),
                await tx.workloads.by_name("train"),
                await tx.workloads.get("train"),
            ]
            return [found, [row.uid for row in await tx.workloads.list()]]

        assert await store.write(write) == [[changed, changed, None], ["u1", "u0"]]

    async def test_two_workloads_can_not_have_one_name(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.workloads.put(WORKLOAD)
            await tx.workloads.put(replace(WORKLOAD, uid="u2"))

        with pytest.raises(Conflict):
            await store.write(write)

    async def test_assignments_are_listed_by_workload_and_by_child(self, store: Store) -> None:
        rows = [AssignmentRow(uid, child, 1) for uid in ("u1", "u2") for child in ("a", "b")]

        async def write(tx: WriteTx) -> list[object]:
            await _grounds(tx)
            await tx.assignments.put_many(reversed(rows))
            return [
                await tx.assignments.list(),
                await tx.assignments.list(uid="u1"),
                await tx.assignments.list(child="b"),
                await tx.assignments.list(uid="u2", child="a"),
                await tx.assignments.get("u1", "a"),
                await tx.assignments.get("u1", "c"),
            ]

        assert await store.write(write) == [
            tuple(rows),
            tuple(rows[:2]),
            (rows[1], rows[3]),
            (rows[2],),
            rows[0],
            None,
        ]

    async def test_a_new_generation_keeps_the_status_that_was_saved(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[AssignmentRow, ...]:
            await _grounds(tx)
            await tx.assignments.put_many(
                [AssignmentRow("u1", "a", 1), AssignmentRow("u1", "b", 1, status=b"first")]
            )
            await tx.assignments.save_statuses({("u1", "a"): b"saved", ("u1", "gone"): b"?"})
            await tx.assignments.put(AssignmentRow("u1", "a", 2, withdrawn=True))
            return await tx.assignments.list()

        assert await store.write(write) == (
            AssignmentRow("u1", "a", 2, True, b"saved"),
            AssignmentRow("u1", "b", 1, False, b"first"),
        )

    async def test_assignments_are_deleted_one_by_one_many_at_once_and_with_their_workload(
        self, store: Store
    ) -> None:
        async def write(tx: WriteTx) -> list[object]:
            await _grounds(tx)
            await tx.assignments.put_many(
                AssignmentRow(uid, child, 1) for uid in ("u1", "u2") for child in ("a", "b", "c")
            )
            await tx.assignments.delete_many([("u1", "a"), ("u2", "b"), ("u9", "a")])
            one = await tx.assignments.delete("u1", "b"), await tx.assignments.delete("u1", "b")
            left = [(row.uid, row.child) for row in await tx.assignments.list()]
            ends = await tx.workloads.delete("u2"), await tx.workloads.delete("u2")
            return [one, left, ends, [(row.uid, row.child) for row in await tx.assignments.list()]]

        assert await store.write(write) == [
            (True, False),
            [("u1", "c"), ("u2", "a"), ("u2", "c")],
            (True, False),
            [("u1", "c")],
        ]

    @pytest.mark.parametrize("key", [("u9", "a"), ("u1", "nobody")])
    async def test_an_assignment_needs_its_workload_and_its_child(
        self, store: Store, key: tuple[str, str]
    ) -> None:
        async def write(tx: WriteTx) -> None:
            await _grounds(tx)
            await tx.assignments.put(AssignmentRow(*key, 1))

        with pytest.raises(Conflict):
            await store.write(write)

    # events, audit

    async def test_events_are_listed_newest_first_page_by_page(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.events.add_many(event(number) for number in (3, 1, 5, 2))
            await tx.events.add(event(4))

        await store.write(write)

        async def read(tx: ReadTx) -> list[list[int]]:
            pages, token = [], ""
            while True:
                page = await tx.events.list(page_size=2, page_token=token)
                pages.append([round(row.time * 1e6) for row in page.rows])
                token = page.next_token
                if not token:
                    return pages

        assert await store.read(read) == [[5, 4], [3, 2], [1]]

    async def test_the_last_full_page_has_no_next(self, store: Store) -> None:
        async def write(tx: WriteTx) -> str:
            await tx.events.add_many([event(1), event(2)])
            return (await tx.events.list(page_size=2)).next_token

        assert await store.write(write) == ""

    async def test_a_page_holds_100_rows_unless_told_and_never_more_than_1000(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[int]:
            await tx.events.add_many(event(number) for number in range(1, 1103))
            return [len((await tx.events.list(page_size=size)).rows) for size in (0, 5000)]

        assert await store.write(write) == [100, 1000]

    @pytest.mark.parametrize(
        ("subject", "found"),
        [
            ("", 7),
            ("member", 5),
            ("member/", 5),
            ("member/a", 2),
            ("member/a/", 2),
            ("member/a/b", 1),
            ("member/ab", 1),
            ("member/%", 0),
            ("member/A", 0),
            ("member/a_", 1),
            ("workload", 1),
            ("nothing", 0),
        ],
    )
    async def test_a_subject_takes_what_is_about_it_or_below_it(
        self, store: Store, subject: str, found: int
    ) -> None:
        subjects = ["member/a", "member/a/b", "member/ab", "member/a0", "member/a_", "members", "workload/x"]

        async def write(tx: WriteTx) -> tuple[int, int]:
            await tx.events.add_many(event(number, each) for number, each in enumerate(subjects))
            for number, each in enumerate(subjects):
                await tx.audit.add(entry(number, each))
            return (
                len((await tx.events.list(subject=subject)).rows),
                len((await tx.audit.list(subject=subject)).rows),
            )

        assert await store.write(write) == (found, found)

    async def test_a_wrong_page_token_is_refused(self, store: Store) -> None:
        async def read(tx: ReadTx) -> None:
            await tx.audit.list(page_token="' OR 1=1 --")

        with pytest.raises(InvalidInput) as caught:
            await store.read(read)
        assert caught.value.field == "page_token"

    async def test_adding_an_event_again_does_no_harm(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[EventRow, ...]:
            await tx.events.add(event(1))
            await tx.events.add_many([replace(event(1), message="changed"), event(2)])
            return (await tx.events.list()).rows

        assert await store.write(write) == (event(2), event(1))

    async def test_trimming_keeps_the_newest_events(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[object]:
            await tx.events.add_many(event(number) for number in range(10))
            removed = [await tx.events.trim(keep) for keep in (10, 3, 5)]
            return [removed, (await tx.events.list()).rows, await tx.events.trim(0)]

        assert await store.write(write) == [[0, 7, 0], (event(9), event(8), event(7)), 3]

    async def test_the_newest_audit_entries_are_never_trimmed(self, store: Store) -> None:
        async def write(tx: WriteTx) -> tuple[int, tuple[AuditRow, ...]]:
            for number in range(5):
                await tx.audit.add(entry(number))
            return await tx.audit.trim(1), (await tx.audit.list()).rows

        assert AUDIT_FLOOR == 100_000
        assert await store.write(write) == (0, tuple(entry(number) for number in (4, 3, 2, 1, 0)))

    # authority, settings

    async def test_the_authorities_are_replaced_as_a_whole(self, store: Store) -> None:
        second = replace(AUTHORITY, serial="01", phase="prepared", not_before=5.0)

        async def write(tx: WriteTx) -> list[object]:
            await tx.authority.replace_all([second, AUTHORITY])
            both = await tx.authority.list()
            await tx.authority.replace_all([second])
            one = await tx.authority.list()
            await tx.authority.replace_all([])
            return [both, one, await tx.authority.list()]

        assert await store.write(write) == [(AUTHORITY, second), (second,), ()]

    async def test_settings_are_single_values(self, store: Store) -> None:
        async def write(tx: WriteTx) -> list[object]:
            await tx.settings.put("k", b"1")
            await tx.settings.put("k", b"\x00\xff")
            found = [await tx.settings.get("k"), await tx.settings.get("j")]
            return [
                found,
                await tx.settings.delete("k"),
                await tx.settings.delete("k"),
                await tx.settings.get("k"),
            ]

        assert await store.write(write) == [[b"\x00\xff", None], True, False, None]

    # transactions

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
        async def write(tx: WriteTx) -> None:
            await tx.access.put(replace(ACCESS, secret_hash="top-secret"))
            await tx.access.put(replace(ACCESS, name="eve", secret_hash="top-secret"))

        with pytest.raises(Conflict) as caught:
            await store.write(write)
        error: BaseException | None = caught.value
        while error is not None:
            assert "top-secret" not in f"{error!s}{error!r}"
            error = error.__cause__


async def _grounds(tx: WriteTx) -> None:
    """The workloads and children that assignments are made of."""
    for uid in ("u1", "u2"):
        await tx.workloads.put(replace(WORKLOAD, uid=uid, name=f"name-{uid}"))
    for name in ("a", "b", "c"):
        await tx.children.put(ChildRow(name, "agent"))
