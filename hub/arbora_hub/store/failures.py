"""What SQLite says when something is wrong, as our errors.

The texts of a driver's errors name tables and columns, never values; statements' parameters are hidden
by the engine (`hide_parameters`), because some of them are secrets.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from arbora.errors import ArboraError, Conflict, InvalidInput, StorageFailed
from arbora_hub.store.port import StoreDamaged

_HINTS = {
    sqlite3.SQLITE_FULL: "Free space where the hub's data directory is; the hub goes on by itself.",
    sqlite3.SQLITE_IOERR: "Check the disk under the hub's data directory.",
    sqlite3.SQLITE_BUSY: "Another process holds the database; only one hub may use it.",
    sqlite3.SQLITE_LOCKED: "Another process holds the database; only one hub may use it.",
    sqlite3.SQLITE_READONLY: "Check owner and mode of the hub's data directory.",
    sqlite3.SQLITE_CANTOPEN: "Check owner and mode of the hub's data directory.",
    sqlite3.SQLITE_PERM: "Check owner and mode of the hub's data directory.",
}
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
RESTORE = "Stop the hub and restore its data directory from a backup; keep the damaged files."


def translate(error: Exception) -> ArboraError | None:
    """Our error for what the driver or SQLAlchemy raised; None where it is not about the store."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.IntegrityError):
        return Conflict(f"the change contradicts what is stored: {cause}")
    if isinstance(cause, sqlite3.DataError | sqlite3.InterfaceError | sqlite3.ProgrammingError):
        return InvalidInput(f"a value can't be stored: {cause}")
    if isinstance(cause, sqlite3.Error):
        code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte: the rest tells variants apart
        if code in _DAMAGED:
            return StoreDamaged(f"the store is damaged: {cause}", hint=RESTORE)
        return StorageFailed(f"the store failed: {cause}", hint=_HINTS.get(code, "See the hub's log."))
    if isinstance(error, SQLAlchemyError):
        return StorageFailed(f"the store failed: {error}", hint="See the hub's log.")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of the driver's."""
    try:
        yield
    except (sqlite3.Error, SQLAlchemyError) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error
