"""An empty database gets the present schema at once; the steps of the migrations lead to the same one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from arbora_hub.store.schema import _run_steps, prepare


def schema_of(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    return {name: "".join(text.split()) for name, text in rows if name != "alembic_version"}


def test_the_steps_of_the_migrations_end_where_a_new_database_begins(tmp_path: Path) -> None:
    made, stepped = tmp_path / "made.db", tmp_path / "stepped.db"
    prepare(made)
    engine = sa.create_engine(f"sqlite:///{stepped}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        _run_steps(connection)
    engine.dispose()
    assert schema_of(made) == schema_of(stepped)
