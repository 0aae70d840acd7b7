"""The database file before it is used: who may read it, whether it is sound, and its schema, brought up to date.

Blocking throughout; `opening.py` runs it on a thread. Alembic is imported only where there is something to
migrate: it costs more than 10 MB.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa
import structlog

from arbora.errors import InvalidInput, StorageFailed
from arbora_hub.store.failures import RESTORE, translate
from arbora_hub.store.port import StoreDamaged

log = structlog.get_logger(__name__)

HEAD = "0003"
"""The newest step in `migrations/versions`."""
BUSY_SECONDS = 5.0
"""How long to wait for another process that holds the database."""
OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

_REVISION = re.compile(r"\d{4}")


def prepare(path: Path) -> None:
    """Make the file if there is none, check it, bring its schema up to date.

    Raises InvalidInput (not a database of ours, a newer schema), StoreDamaged, StorageFailed.
    """
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StorageFailed(
            f"SQLite {sqlite3.sqlite_version} is too old",
            hint="Use a Python that is built with SQLite 3.35 or newer.",
        )
    try:
        with _alone(path):
            with closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
                _check(connection, path)
                revision = _revision(connection, path)
            if revision != HEAD:
                _migrate(path, revision)
                log.info("schema migrated", before=revision or "none", now=HEAD)
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
            raise InvalidInput(
                f"{path} is not a database",
                hint="Choose another data directory, or restore the file from a backup.",
            ) from error
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Make the file where there is none, and keep others that prepare it out meanwhile.

    The lock is on the directory and ends with this process: SQLite does not wait for others when it switches
    to the write-ahead log. A file that exists is not opened here, because closing it would end the
    locks that SQLite holds on it for this process.
    """
    try:
        _make_directory(path.parent)
        directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            _make_file(path)
        except OSError as error:
            raise _unusable(path, error) from error
        yield
    finally:
        os.close(directory)


def _make_directory(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = directory.stat().st_mode & 0o777
    if mode & 0o077:
        log.warning("the store's directory is open to others", directory=str(directory), mode=f"{mode:04o}")


def _make_file(path: Path) -> None:
    """Readable by its owner alone; what SQLite puts beside it gets the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)) from None
        path.chmod(0o600)


def _unusable(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(
        f"{path} can't be used: {error.strerror}", hint="Check free space, owner and mode of its directory."
    )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StorageFailed(
            f"{path} can't use a write-ahead log (it has {mode})",
            hint="Put the data directory on a local file system; network file systems do not work.",
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDamaged(f"{path} is damaged: {found}", hint=RESTORE)


def _revision(connection: sqlite3.Connection, path: Path) -> str:
    """The schema's revision; empty for an empty database. Raises InvalidInput."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return ""
    revision = ""
    if "alembic_version" in tables:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        revision = str(row[0]) if row is not None else ""
    if not _REVISION.fullmatch(revision):
        raise InvalidInput(f"{path} is not a hub's database", hint="Choose another data directory.")
    if revision > HEAD:
        raise InvalidInput(
            f"{path} has the schema {revision}, and this hub knows no newer one than {HEAD}",
            hint="Use the newer version of Arbora that wrote it, or restore a backup from before its upgrade.",
        )
    return revision


def _migrate(path: Path, revision: str) -> None:
    """Run the steps that are missing, all in one transaction: a kill leaves the old schema.

    An empty database gets the present schema at once (a test holds both ways together), because the tool that
    runs steps would stay in the memory of a new hub for as long as it lives: 10 MB.
    """
    from sqlalchemy.exc import SQLAlchemyError

    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.NullPool,
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # two hubs that open it at once: one migrates
            if revision:
                _run_steps(connection)
            else:
                _create(connection)
            connection.commit()
    except SQLAlchemyError as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error
    finally:
        engine.dispose()


def _create(connection: sa.Connection) -> None:
    from arbora_hub.store.tables import metadata

    tables = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if tables:
        return  # another hub that opened it at the same moment was first
    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (HEAD,))


def _run_steps(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
