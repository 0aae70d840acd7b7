"""Queries on the hub's CAs."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from arbora_hub.store.rows import AuthorityRow
from arbora_hub.store.statements import Statements, values
from arbora_hub.store.tables import authority

_LIST = sa.select(authority).order_by(authority.c.not_before, authority.c.phase_since, authority.c.serial)
_DELETE_ALL = sa.delete(authority)
_INSERT = sa.insert(authority)


class SqlAuthority:
    """`port.Authority` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list(self) -> tuple[AuthorityRow, ...]:
        """See the port."""
        return tuple(AuthorityRow(*row) for row in await self._statements.all(_LIST))

    async def replace_all(self, rows: Iterable[AuthorityRow]) -> None:
        """See the port."""
        await self._statements.run(_DELETE_ALL)
        await self._statements.run_many(_INSERT, [values(row) for row in rows])
