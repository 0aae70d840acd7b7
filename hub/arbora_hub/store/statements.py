"""Runs the statements of one transaction and remembers if the store failed under it.

The queries' modules use nothing else of SQLAlchemy's connection. A failed store (disk full, I/O error) may
have ended the whole transaction behind our back, so that a further statement would stand alone: after a
failure every statement is refused, and `failure` tells the owner of the transaction, whatever the
caller's function made of the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from arbora.errors import Conflict, StorageFailed
from arbora_hub.store.failures import translate

Parameters = Mapping[str, Any]


class Statements:
    """One transaction's statements."""

    __slots__ = ("_connection", "_over", "failure")

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self._over = False
        self.failure: StorageFailed | None = None
        """Set once the store failed; the transaction is lost then."""

    @property
    def dialect(self) -> str:
        """sqlite or postgresql."""
        return self._connection.dialect.name

    async def first(self, statement: sa.Executable, parameters: Parameters | None = None) -> Sequence[Any] | None:
        """The first row, as a sequence of its columns."""
        return (await self._execute(statement, parameters)).first()

    async def all(
        self, statement: sa.Executable, parameters: Parameters | None = None
    ) -> Sequence[Sequence[Any]]:
        """Every row."""
        return (await self._execute(statement, parameters)).all()

    async def run(self, statement: sa.Executable, parameters: Parameters | None = None) -> int:
        """Change something; gives the number of rows that were changed."""
        return (await self._execute(statement, parameters)).rowcount

    async def run_many(self, statement: sa.Executable, parameters: Sequence[Parameters]) -> None:
        """Run it once for each set of parameters."""
        if parameters:
            await self._execute(statement, parameters)

    def end(self) -> None:
        """The transaction is over: whoever kept a reference to it is refused."""
        self._over = True

    async def _execute(
        self, statement: sa.Executable, parameters: Parameters | Sequence[Parameters] | None
    ) -> sa.CursorResult[Any]:
        if self._over:
            raise Conflict(
                "the transaction is over", hint="Use a transaction only inside the function it is given to."
            )
        if self.failure is not None:
            raise StorageFailed(self.failure.message, hint=self.failure.hint) from self.failure
        try:
            return await self._connection.execute(statement, parameters)
        except SQLAlchemyError as error:
            ours = translate(error)
            if ours is None:
                raise
            if isinstance(ours, StorageFailed):
                self.failure = ours
            raise ours from error


@cache
def upsert(dialect: str, table: sa.Table, keep: tuple[str, ...] = ()) -> sa.Executable:
    """Add a row, or replace the one of its key except for the columns in `keep`."""
    insert = _insert(dialect, table)
    key = [column.name for column in table.primary_key]
    names = [column.name for column in table.columns]
    replaced = {name: insert.excluded[name] for name in names if name not in key and name not in keep}
    return insert.on_conflict_do_update(index_elements=key, set_=replaced)


@cache
def insert_new(dialect: str, table: sa.Table) -> sa.Executable:
    """Add a row, or leave the one of its key as it is."""
    key = [column.name for column in table.primary_key]
    return _insert(dialect, table).on_conflict_do_nothing(index_elements=key)


def _insert(dialect: str, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def values(row: Any) -> dict[str, Any]:
    """A row's fields as a statement's parameters."""
    return {name: getattr(row, name) for name in _names(row.__class__)}


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
