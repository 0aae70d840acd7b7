"""Queries on clients' accesses."""

from __future__ import annotations

import sqlalchemy as sa

from arbora_hub.store.rows import AccessRow
from arbora_hub.store.statements import Statements, upsert, values
from arbora_hub.store.tables import access

_NAME: sa.BindParameter[str] = sa.bindparam("of_name")
_GET = sa.select(access).where(access.c.name == _NAME)
_BY_ID = sa.select(access).where(access.c.id == sa.bindparam("of_id"))
_LIST = sa.select(access).order_by(access.c.name)
_DELETE = sa.delete(access).where(access.c.name == _NAME)


class SqlAccess:
    """`port.Access` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, name: str) -> AccessRow | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_name": name})
        return None if row is None else AccessRow(*row)

    async def by_id(self, access_id: str) -> AccessRow | None:
        """See the port."""
        row = await self._statements.first(_BY_ID, {"of_id": access_id})
        return None if row is None else AccessRow(*row)

    async def list(self) -> tuple[AccessRow, ...]:
        """See the port."""
        return tuple(AccessRow(*row) for row in await self._statements.all(_LIST))

    async def put(self, row: AccessRow) -> None:
        """See the port."""
        await self._statements.run(upsert(self._statements.dialect, access), values(row))

    async def delete(self, name: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_name": name}) > 0
