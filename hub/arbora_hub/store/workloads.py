"""Queries on workloads."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from arbora_hub.store.rows import WorkloadRow
from arbora_hub.store.statements import Statements, upsert, values
from arbora_hub.store.tables import workloads

_UID: sa.BindParameter[str] = sa.bindparam("of_uid")
_GET = sa.select(workloads).where(workloads.c.uid == _UID)
_BY_NAME = sa.select(workloads).where(workloads.c.name == sa.bindparam("of_name"))
_LIST = sa.select(workloads).order_by(workloads.c.name)
_DELETE = sa.delete(workloads).where(workloads.c.uid == _UID)


class SqlWorkloads:
    """`port.Workloads` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def get(self, uid: str) -> WorkloadRow | None:
        """See the port."""
        row = await self._statements.first(_GET, {"of_uid": uid})
        return None if row is None else WorkloadRow(*row)

    async def by_name(self, name: str) -> WorkloadRow | None:
        """See the port."""
        row = await self._statements.first(_BY_NAME, {"of_name": name})
        return None if row is None else WorkloadRow(*row)

    async def list(self) -> tuple[WorkloadRow, ...]:
        """See the port."""
        return tuple(WorkloadRow(*row) for row in await self._statements.all(_LIST))

    async def put(self, row: WorkloadRow) -> None:
        """See the port."""
        await self.put_many((row,))

    async def put_many(self, rows: Iterable[WorkloadRow]) -> None:
        """See the port."""
        statement = upsert(self._statements.dialect, workloads)
        await self._statements.run_many(statement, [values(row) for row in rows])

    async def delete(self, uid: str) -> bool:
        """See the port."""
        return await self._statements.run(_DELETE, {"of_uid": uid}) > 0
