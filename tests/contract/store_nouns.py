"""What every store keeps of each noun; part of `StoreContract`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from arbora.errors import Conflict, NotFound
from arbora_hub.store.port import Children, ReadTx, Store, WriteTx
from arbora_hub.store.rows import (
    AccessRow,
    AssignmentRow,
    AuthorityRow,
    ChildRow,
    JoinTokenRow,
    TaintRow,
    WorkloadRow,
)

CHILD = ChildRow(
    name="edge-7",
    kind="agent",
    cluster_uid="6f1c",
    labels={"region": "eu", "größe": "5"},
    taints=(TaintRow("gpu", "", "NoExecute", 1_800_000_000.123456), TaintRow("gpu", "only", "NoSchedule", 0.0)),
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


class NounContract:
    """Children, join tokens, access, workloads, assignments, authority, settings."""

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

    async def test_an_access_into_a_member_comes_back_with_that_member(self, store: Store) -> None:
        way = AccessRow("to-edge-7", "a2", "hash", 1, 1.0, 2.0, "paris/edge-7")

        async def write(tx: WriteTx) -> list[object]:
            await tx.access.put(ACCESS)
            await tx.access.put(way)
            found = [await tx.access.get("to-edge-7"), await tx.access.by_id("a2"), await tx.access.list()]
            await tx.access.put(replace(way, member="edge-8"))
            return [*found, await tx.access.get("to-edge-7"), await tx.access.get("ada")]

        assert await store.write(write) == [way, way, (ACCESS, way), replace(way, member="edge-8"), ACCESS]

    async def test_two_accesses_can_not_have_one_id(self, store: Store) -> None:
        async def write(tx: WriteTx) -> None:
            await tx.access.put(ACCESS)
            await tx.access.put(replace(ACCESS, name="eve"))

        with pytest.raises(Conflict):
            await store.write(write)

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

    async def test_settings_are_found_by_the_beginning_of_their_keys(self, store: Store) -> None:
        async def write(tx: WriteTx) -> dict[str, bytes]:
            for key in ("a/2", "a/1", "ab", "a_1", "b/1"):
                await tx.settings.put(key, key.encode())
            return dict(await tx.settings.items("a/"))

        assert await store.write(write) == {"a/1": b"a/1", "a/2": b"a/2"}

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


async def _grounds(tx: WriteTx) -> None:
    """The workloads and children that assignments are made of."""
    for uid in ("u1", "u2"):
        await tx.workloads.put(replace(WORKLOAD, uid=uid, name=f"name-{uid}"))
    for name in ("a", "b", "c"):
        await tx.children.put(ChildRow(name, "agent"))
