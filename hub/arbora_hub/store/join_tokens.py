"""Queries on join tokens."""

from __future__ import annotations

import sqlalchemy as sa

from arbora_hub.store.rows import JoinTokenRow
from arbora_hub.store.statements import Statements, upsert, values
from arbora_hub.store.tables import join_tokens

_ID: sa.BindParameter[str] = sa.bindparam("of_id")
_GET = sa.select(join_tokens).where(join_tokens.c.id == _ID)
_LIST = sa.select(join_tokens).order_by(join_tokens.c.expires, join_tokens.c.id)
_DELETE = sa.delete(join_tokens).where(join_tokens.c.id == _ID)
_DELETE_EXPIRED = sa.delete(join_tokens).where(join_tokens.c.expires < sa.bindparam("before"))


class SqlJoinTokens:
    """`port.JoinTokens` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, token_id: str) -> JoinTokenRow | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_id": token_id})
        return None if row is None else JoinTokenRow(*row)

    async def list(self) -> tuple[JoinTokenRow, ...]:
        """See the port."""
        return tuple(JoinTokenRow(*row) for row in await self._statements.all(_LIST))

    async def put(self, row: JoinTokenRow) -> None:
        """See the port."""
        await self._statements.run(upsert(self._statements.dialect, join_tokens), values(row))

    async def delete(self, token_id: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_id": token_id}) > 0

    async def delete_expired(self, before: float) -> int:
        """See the port."""
        return await self._statements.run(_DELETE_EXPIRED, {"before": before})
