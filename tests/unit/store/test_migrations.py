"""A database that an older hub wrote is brought up to date, and everything that it holds is still there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from arbora.errors import StorageFailed
from arbora_hub.store import schema
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import ReadTx, Store, WriteTx
from arbora_hub.store.rows import (
    AccessRow,
    AssignmentRow,
    AuditRow,
    AuthorityRow,
    ChildRow,
    EventRow,
    GpuHistoryRow,
    JoinTokenRow,
    TaintRow,
    WorkloadRow,
)

TAINT = TaintRow("gpu", "only", "NoSchedule", 1.5)
CHILD = ChildRow("edge-7", "agent", "6f1c", {"größe": "5"}, (TAINT,), True, session_epoch=3, last_status=b"\xff")
EVICTED = ChildRow("edge-8", "agent", state="evicted", session_epoch=9)
JOIN_TOKEN = JoinTokenRow("t1", "hash", "edge-7", "agent", {"a": "b"}, 100.5, 1, {"key": "edge-7"}, 1.5)
ACCESS = AccessRow("ada", "a1", "hash", 3, 1.0, None)
WAY = AccessRow("way", "w1", "hash", 1, 1.0, None, "paris/edge-7")
WORKLOAD = WorkloadRow("u1", "train", {"team": "x"}, 2, b"\x01", b"\x02", 5.0, budget=b"\x03")
ASSIGNMENT = AssignmentRow("u1", "edge-7", 2, False, b"status", 4, 1)
EVENT = EventRow("00000000000001-0000", 1.0, 1, "MemberJoined", "member/edge-7", "edge-7 joined as agent.")
AUDIT = AuditRow("00000000000001-0000", 1.0, "access/ada", "LabelMember", "member/edge-7", "OK", "peer", "detail")
AUTHORITY = AuthorityRow("0f", "active", b"cert", b"key", 1.0, 0.0, 9.0)
EVERYTHING = [
    (CHILD, EVICTED),
    (JOIN_TOKEN,),
    (ACCESS,),
    (WORKLOAD,),
    (ASSIGNMENT,),
    (EVENT,),
    (AUDIT,),
    (AUTHORITY,),
    b"value",
]


async def everything(tx: ReadTx) -> list[object]:
    return [
        await tx.children.list(),
        await tx.join_tokens.list(),
        await tx.access.list(),
        await tx.workloads.list(),
        await tx.assignments.list(),
        (await tx.events.list()).rows,
        (await tx.audit.list()).rows,
        await tx.authority.list(),
        await tx.settings.get("key"),
    ]


async def put_everything(tx: WriteTx) -> None:
    await tx.children.put(CHILD)
    await tx.children.put(EVICTED)
    await tx.join_tokens.put(JOIN_TOKEN)
    await tx.access.put(ACCESS)
    await tx.workloads.put(WORKLOAD)
    await tx.assignments.put(ASSIGNMENT)
    await tx.events.add(EVENT)
    await tx.audit.add(AUDIT)
    await tx.authority.replace_all([AUTHORITY])
    await tx.settings.put("key", b"value")


def migrate(path: Path, to: str, *, down: bool = False) -> None:
    """By the steps, whatever the head is."""
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, to)
    engine.dispose()


def tables_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.fixture
async def old(tmp_path: Path) -> Path:
    """A database of the revision 0001 that holds something in every table."""
    path, current = tmp_path / "hub.db", tmp_path / "current.db"
    migrate(path, "0001")
    store = await open_store(current)
    await store.write(put_everything)
    await store.close()
    # what the columns hold that there were then, as a hub writes it
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS current", (str(current),))
        for table in sorted(tables_of(path) - {"alembic_version"}):
            columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM current.{table}")
    return path


async def used(store: Store) -> tuple[GpuHistoryRow, ...]:
    """The minutes of GPUs, after one more was added."""

    async def write(tx: WriteTx) -> tuple[GpuHistoryRow, ...]:
        await tx.gpu_history.add_many([GpuHistoryRow("edge-7", 29_000_000, b"data")])
        return await tx.gpu_history.list("edge-7", 0)

    return await store.write(write)


async def test_a_database_of_before_the_history_of_gpus_keeps_everything_and_gets_it(old: Path) -> None:
    assert revision_of(old) == "0001"
    assert "gpu_history" not in tables_of(old)
    store = await open_store(old)
    assert await store.read(everything) == EVERYTHING
    assert await used(store) == (GpuHistoryRow("edge-7", 29_000_000, b"data"),)
    await store.close()
    assert revision_of(old) == schema.HEAD


@pytest.fixture
async def before_ways(old: Path) -> Path:
    """A database of the revision 0002 that holds something in every table."""
    migrate(old, "0002")
    return old


def columns_of(path: Path, table: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


async def test_a_database_of_before_the_ways_into_members_keeps_its_accesses_for_calls(before_ways: Path) -> None:
    assert revision_of(before_ways) == "0002"
    assert "member" not in columns_of(before_ways, "access")
    store = await open_store(before_ways)
    assert await store.read(everything) == EVERYTHING
    assert [row.member for row in await store.read(lambda tx: tx.access.list())] == [""]
    await store.write(lambda tx: tx.access.put(WAY))
    assert await store.read(lambda tx: tx.access.get("way")) == WAY
    await store.close()
    assert revision_of(before_ways) == schema.HEAD


async def test_a_way_into_a_member_is_no_access_to_a_hub_of_before(before_ways: Path) -> None:
    store = await open_store(before_ways)
    await store.write(lambda tx: tx.access.put(WAY))
    await store.close()
    migrate(before_ways, "0002", down=True)
    with closing(sqlite3.connect(before_ways)) as connection:
        # that hub would let its token in as a viewer
        assert connection.execute("SELECT name FROM access").fetchall() == [("ada",)]
    assert "member" not in columns_of(before_ways, "access")
    store = await open_store(before_ways)
    assert await store.read(everything) == EVERYTHING
    await store.close()


async def test_what_was_migrated_is_as_what_was_made_new(old: Path, tmp_path: Path) -> None:
    for path in (old, tmp_path / "new.db"):
        await (await open_store(path)).close()

    def shape(path: Path) -> dict[str, str]:
        with closing(sqlite3.connect(path)) as connection:
            found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        return {name: "".join(text.split()) for name, text in found if name != "alembic_version"}

    assert shape(old) == shape(tmp_path / "new.db")


async def test_opening_a_second_time_changes_nothing(old: Path) -> None:
    for _ in range(2):
        store = await open_store(old)
        assert await store.read(everything) == EVERYTHING
        await store.close()


async def test_a_child_that_an_older_hub_enrolled_takes_its_minutes_along(old: Path) -> None:
    store = await open_store(old)
    await used(store)
    assert await store.write(lambda tx: tx.children.delete("edge-7"))
    assert await store.read(lambda tx: tx.gpu_history.list("edge-7", 0)) == ()
    await store.close()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        # in the way of the last statement
        connection.execute("CREATE INDEX gpu_history_by_minute ON events (time)")
    with pytest.raises(StorageFailed):
        await open_store(old)
    assert revision_of(old) == "0001"
    assert "gpu_history" not in tables_of(old)
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("DROP INDEX gpu_history_by_minute")
    store = await open_store(old)
    assert await store.read(everything) == EVERYTHING
    await store.close()


async def test_the_step_can_be_taken_back(old: Path) -> None:
    await (await open_store(old)).close()
    migrate(old, "0001", down=True)
    assert "gpu_history" not in tables_of(old)
    store = await open_store(old)
    assert await store.read(everything) == EVERYTHING
    await store.close()
