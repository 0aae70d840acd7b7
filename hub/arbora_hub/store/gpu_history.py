"""Queries on minutes of members' GPUs."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from arbora_hub.store.rows import GpuHistoryRow
from arbora_hub.store.statements import Statements, insert_new, values
from arbora_hub.store.tables import gpu_history

_LIST = (
    sa.select(gpu_history)
    .where(gpu_history.c.child == sa.bindparam("of_child"), gpu_history.c.minute >= sa.bindparam("since"))
    .order_by(gpu_history.c.minute)
)
_TRIM = sa.delete(gpu_history).where(gpu_history.c.minute < sa.bindparam("before"))


class SqlGpuHistory:
    """`port.GpuHistory` in SQL."""

    __slots__ = ("_statements",)

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def list(self, child: str, since: int) -> tuple[GpuHistoryRow, ...]:
        """See the port."""
        rows = await self._statements.all(_LIST, {"of_child": child, "since": since})
        return tuple(GpuHistoryRow(*row) for row in rows)

    async def add_many(self, rows: Iterable[GpuHistoryRow]) -> None:
        """See the port."""
        await self._statements.run_many(
            insert_new(self._statements.dialect, gpu_history), [values(row) for row in rows]
        )

    async def trim(self, before: int) -> int:
        """See the port."""
        return await self._statements.run(_TRIM, {"before": before})
