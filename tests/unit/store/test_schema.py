"""The file and its schema: made, migrated, refused."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from arbora.errors import InvalidInput, StorageFailed
from arbora_hub.store import rows, schema, tables
from arbora_hub.store.opening import open_store
from arbora_hub.store.port import ReadTx, StoreDamaged, WriteTx
from arbora_hub.store.rows import ChildRow


def test_the_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    schema.prepare(tmp_path / "hub.db")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'hub.db'}", poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []
        made = {
            row.name: row.sql
            for row in connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        }
    for table in tables.metadata.sorted_tables:
        # the statement itself too: the comparison above sees no foreign keys' actions and no WITHOUT ROWID
        assert _squeezed(made[table.name]) == _squeezed(str(sa.schema.CreateTable(table).compile(engine)))


def test_the_head_is_the_newest_migration() -> None:
    directory = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert directory.get_heads() == [schema.HEAD]


@pytest.mark.parametrize(
    ("row", "table"),
    [
        (rows.ChildRow, tables.children),
        (rows.JoinTokenRow, tables.join_tokens),
        (rows.AccessRow, tables.access),
        (rows.WorkloadRow, tables.workloads),
        (rows.AssignmentRow, tables.assignments),
        (rows.EventRow, tables.events),
        (rows.AuditRow, tables.audit),
        (rows.GpuHistoryRow, tables.gpu_history),
        (rows.AuthorityRow, tables.authority),
    ],
)
def test_a_row_has_its_tables_columns_in_their_order(row: type, table: sa.Table) -> None:
    assert [field.name for field in dataclasses.fields(row)] == [column.name for column in table.columns]


def test_secrets_are_not_shown() -> None:
    shown = repr(rows.AccessRow("a", "i", "hidden", 1, 0.0, None)) + repr(
        rows.AuthorityRow("1", "active", b"", b"hidden", 0.0, 0.0, 0.0)
    )
    assert "hidden" not in shown


async def test_only_its_owner_can_read_the_store(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "hub.db"
    store = await open_store(path)

    async def write(tx: WriteTx) -> None:
        await tx.settings.put("k", b"x")

    await store.write(write)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    await store.close()
    assert modes == {"hub.db": 0o600, "hub.db-wal": 0o600, "hub.db-shm": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.touch(mode=0o644)
    await (await open_store(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_url_and_a_path_open_the_same_store(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path / 'hub.db'}")

    async def write(tx: WriteTx) -> None:
        await tx.settings.put("k", b"x")

    await store.write(write)
    await store.close()

    async def read(tx: ReadTx) -> bytes | None:
        return await tx.settings.get("k")

    again = await open_store(str(tmp_path / "hub.db"))
    assert await again.read(read) == b"x"
    await again.close()


async def test_a_path_may_hold_any_character(tmp_path: Path) -> None:
    path = tmp_path / "50% of #hub?x=1 é.db"
    await (await open_store(path)).close()
    assert path.is_file()


@pytest.mark.parametrize("target", ["", ":memory:", "sqlite://", "postgresql://h/db", "mysql+x://h/db", "://"])
async def test_another_kind_of_store_is_refused(target: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await open_store(target)
    assert caught.value.hint


async def test_two_that_open_an_empty_store_at_once_both_get_it(tmp_path: Path) -> None:
    stores = await asyncio.gather(*(open_store(tmp_path / "hub.db") for _ in range(2)))
    for store in stores:
        await store.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await (await open_store(path)).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InvalidInput, match="9999") as caught:
        await open_store(path)
    assert "newer version" in caught.value.hint


async def test_what_is_not_a_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(b"certainly not a database\n" * 500)
    with pytest.raises(InvalidInput, match="not a database") as caught:
        await open_store(path)
    assert caught.value.hint
    assert path.read_bytes() == b"certainly not a database\n" * 500


@pytest.mark.parametrize("table", ["songs", "alembic_version"])
async def test_a_database_of_something_else_is_refused(tmp_path: Path, table: str) -> None:
    path = tmp_path / "hub.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE {table} (version_num TEXT)")
        connection.execute(f"INSERT INTO {table} VALUES ('deadbeef')")
    with pytest.raises(InvalidInput, match="not a hub's database"):
        await open_store(path)


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = await open_store(path)

    async def write(tx: WriteTx) -> None:
        for number in range(500):
            await tx.children.put(ChildRow(f"child-{number}", "agent", last_status=b"s" * 200))

    await store.write(write)
    await store.close()
    content = bytearray(path.read_bytes())
    for page in range(4, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path.write_bytes(content)
    with pytest.raises(StoreDamaged) as caught:
        await open_store(path)
    assert "backup" in caught.value.hint
    assert not caught.value.retryable


async def test_a_directory_that_can_not_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailed, match="can't be used") as caught:
        await open_store(tmp_path / "file" / "hub.db")
    assert "directory" in caught.value.hint


async def test_a_directory_in_the_place_of_the_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "hub.db").mkdir(mode=0o755)
    with pytest.raises(StorageFailed, match="directory"):
        await open_store(tmp_path / "hub.db")
    assert (tmp_path / "hub.db").stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
async def test_a_directory_without_leave_to_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StorageFailed, match="can't be used"):
        await open_store(tmp_path / "closed" / "hub.db")


async def test_a_current_store_opens_without_the_migration_library(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    await (await open_store(path)).close()
    program = (
        "import asyncio, sys\n"
        "from arbora_hub.store.opening import open_store\n"
        "async def main():\n"
        f"    await (await open_store({str(path)!r})).close()\n"
        "asyncio.run(main())\n"
        "sys.exit('alembic' in sys.modules)\n"
    )
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], timeout=15, check=False)
    assert done.returncode == 0


async def test_audit_entries_beyond_the_floor_are_trimmed(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = await open_store(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        entries = ((f"{number:014x}-0000", 0.0, "", "", "", "", "", "") for number in range(100_003))
        connection.executemany("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?)", entries)

    async def trim(tx: WriteTx) -> list[int]:
        return [await tx.audit.trim(keep) for keep in (100_002, 5, 5)]

    assert await store.write(trim) == [1, 2, 0]
    await store.close()


def _squeezed(sql: str) -> str:
    return "".join(sql.split()).replace('"', "")
