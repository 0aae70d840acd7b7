"""Queries on single values."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from arbora_hub.store.statements import Statements, upsert
from arbora_hub.store.tables import settings

_KEY: sa.BindParameter[str] = sa.bindparam("of_key")
_GET = sa.select(settings.c.value).where(settings.c.key == _KEY)
_ITEMS = (
    sa.select(settings.c.key, settings.c.value)
    .where(sa.func.substr(settings.c.key, 1, sa.bindparam("of_length")) == sa.bindparam("of_prefix"))
    .order_by(settings.c.key)
)
_DELETE = sa.delete(settings).where(settings.c.key == _KEY)


class SqlSettings:
    """`port.Settings` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, key: str) -> bytes | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_key": key})
        return None if row is None else bytes(row[0])

    async def items(self, prefix: str) -> Mapping[str, bytes]:
        """See the port."""
        rows = await self._statements.all(_ITEMS, {"of_prefix": prefix, "of_length": len(prefix)})
        return {row[0]: bytes(row[1]) for row in rows}

    async def put(self, key: str, value: bytes) -> None:
        """See the port."""
        await self._statements.run(upsert(self._statements.dialect, settings), {"key": key, "value": value})

    async def delete(self, key: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_key": key}) > 0
